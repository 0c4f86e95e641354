import Module from "node:module";

/**
 * What the SDK loads at its start and needs only to serialize a closure: two thirds of the time that it takes to load, and half of its modules. By who asks for it, so that a program which
 * asks for the same package gets the package.
 */
const late: readonly (readonly [request: string, from: RegExp])[] = [
  ["typescript", /[\\/]@pulumi[\\/]pulumi[\\/]typescript-shim\.js$/],
  ["@npmcli/arborist", /[\\/]@pulumi[\\/]pulumi[\\/]runtime[\\/]closure[\\/]codePaths\.js$/],
];

type Load = (request: string, parent: NodeModule | undefined, isMain: boolean) => unknown;
const node = Module as unknown as { _load: Load; _resolveFilename(request: string, parent: NodeModule | undefined): string };

/** The namespace of a CommonJS package, as `import * as name` gives it, that is loaded when the first name is asked for. */
function namespaceOf(load: () => Record<string | symbol, unknown>): unknown {
  let loaded: Record<string | symbol, unknown> | undefined;
  const real = (): Record<string | symbol, unknown> => (loaded ??= load());
  // true: the compiled `import * as` takes a namespace as it is, and copies (so loads) everything else
  return new Proxy({}, { get: (_none, name) => (name === "__esModule" ? true : name === "default" ? real() : real()[name]), has: (_none, name) => name === "__esModule" || name === "default" || name in real() });
}

/** From now on the SDK loads those at their first use. A package that is missing is missed at once, as before: the SDK has another TypeScript for that. */
export function loadLate(): void {
  const load = node._load;
  node._load = function (this: unknown, request, parent, isMain) {
    if (!late.some(([name, from]) => name === request && from.test(parent?.filename ?? ""))) return load.call(this, request, parent, isMain);
    node._resolveFilename(request, parent);
    return namespaceOf(() => load.call(this, request, parent, isMain) as Record<string | symbol, unknown>);
  };
}
