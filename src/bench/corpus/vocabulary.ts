/** Words, names, times and figures of which the corpus is made, each drawn from a seeded generator. */
import type { Prng } from '../../base/random.ts';

export function pick<T>(prng: Prng, values: readonly T[]): T {
  return values[prng.below(values.length)];
}

export function hex(prng: Prng, digits: number): string {
  let text = '';
  while (text.length < digits) text += prng.below(16).toString(16);
  return text;
}

/** As sensors and programs print figures: with so many decimals, and none that are 0. */
export function rounded(value: number, decimals: number): number {
  return Number(value.toFixed(decimals));
}

export function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}

/** Some time of one year, in ms. */
export function someTime(prng: Prng): number {
  return Date.UTC(2026, 0, 1) + Math.floor(prng.float() * 365 * 24 * 3_600 * 1_000);
}

export function name(prng: Prng): string {
  return `${pick(prng, FIRST_NAMES)} ${pick(prng, LAST_NAMES)}`;
}

export function ipAddress(prng: Prng): string {
  return [prng.between(1, 223), prng.below(256), prng.below(256), prng.between(1, 254)].join('.');
}

/**
 * Words without grammar, the frequent ones as often as in English (Zipf's law): to a compressor no easier than sentences that people write, for it
 * has fewer phrases that come again.
 */
export function sentence(prng: Prng, wordsMin: number, wordsMax: number): string {
  const words = Array.from({ length: prng.between(wordsMin, wordsMax) }, () => word(prng));
  const text = words.join(' ');
  return text[0].toUpperCase() + text.slice(1) + pick(prng, ['.', '.', '.', '?', '!', '']);
}

export function word(prng: Prng): string {
  return WORDS[Math.floor(WORDS.length ** prng.float()) - 1];
}

const FIRST_NAMES = (
  'Ada Amir Anna Ben Chloe Dana Elif Emil Farah Finn Greta Hugo Ida Ines Ivan Jana Jonas Kofi Lena Leo Lin Mara Maya Milo Nadia ' +
  'Noah Olga Omar Paul Petra Quinn Rosa Sami Sofia Tariq Tess Uma Viktor Wei Yara Zoe'
).split(' ');
const LAST_NAMES = (
  'Abbott Becker Berg Castro Cohen Diaz Dubois Eriksen Fischer Garcia Haddad Ito Jansen Kaya Keller Kim Kowalski Larsen Mensah ' +
  'Meyer Moreau Nakamura Nguyen Novak Okafor Olsen Patel Popov Quist Rossi Santos Schmidt Silva Singh Suzuki Tanaka Vogel Weber Yilmaz Zhang'
).split(' ');

/** In about the order of their frequency in English. */
const WORDS = (
  'the of and to a in is that it was for on with he be as you at this have but not are from or his they which had by one all we ' +
  'can there what her were when who will would so if no about out up my more them then than some like time just now over into know ' +
  'your how other could me their its only two see people our first get been make new way these may after also any said did many ' +
  'well where before must through back years much such good because very here even down should day long made same work still ' +
  'between life being under never another while last might great since against right came take himself home few use during without ' +
  'again place around however found thought went say part once general upon school every does got left number until always away ' +
  'something fact water less public put think almost hand enough far took head yet government system better set told nothing night ' +
  'end why called find going look asked later knew point next program city business give group toward young days let room word ' +
  'side social given present several order national possible rather second face per among form important often things looked early ' +
  'white case become large big need four within felt along children saw best church ever least power development light thing seemed ' +
  'family interest want members mind country area others done turned although open service certain kind different problem began door ' +
  'help sense means whole matter course really state week question server update message channel release player quest trade guild ' +
  'connection latency build deploy review branch ticket report meeting tomorrow afternoon coffee weekend photo answer thanks sorry ' +
  'maybe probably anyway exactly tonight online offline screen keyboard window folder folders version merge token account password ' +
  'payment invoice delivery parcel address station train ticket bicycle garden kitchen window bridge river mountain harbour island ' +
  'weather storm summer winter spring autumn morning music concert guitar picture gallery museum library university teacher student ' +
  'doctor engineer farmer driver pilot captain soldier writer painter singer dancer actor lawyer judge minister president journey'
).split(' ');
