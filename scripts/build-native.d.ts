export default function buildNativeWhereChanged(): void;
export function buildNative(target: string, options?: readonly string[]): string | null;
