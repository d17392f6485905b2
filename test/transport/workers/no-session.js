/** No module of workers: it exports no function for connections. */

export const start = 'soon';
