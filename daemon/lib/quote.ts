/** One word for a POSIX shell (sh(1), "Quoting"): the only place where text meets a shell line. Throws on NUL, which no argument can hold. */
export function quote(word: string): string {
  if (word.includes("\0")) throw new Error("an argument cannot hold a NUL");
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replace(/'/g, "'\\''")}'`;
}
export const quoteAll = (argv: readonly string[]): string => argv.map(quote).join(" ");
