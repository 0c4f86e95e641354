/** A line for the person who watches `up`: the provider process' standard output is shown by the engine. Never a secret. */
export function progress(type: string, name: string, text: string): void {
  process.stdout.write(`${type} ${name}: ${text}\n`);
}
