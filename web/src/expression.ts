// The selection as an expression over region ids: "(1 + 2) - 3", "~1" for all but region 1. As core/selection.py.

export type Token = { kind: "region"; id: number } | { kind: "sign"; text: string };
export type Node =
  | { kind: "region"; id: number }
  | { kind: "not"; of: Node }
  | { kind: "pair"; sign: "+" | "-"; left: Node; right: Node };

/** Numbers and signs in their order. Throws SyntaxError for another letter. */
export function tokens(expression: string): Token[] {
  const found: Token[] = [];
  for (const [part] of expression.matchAll(/\d+|\S/g)) {
    if (/^\d/.test(part)) found.push({ kind: "region", id: Number(part) });
    else if ("+-~()".includes(part)) found.push({ kind: "sign", text: part });
    else throw new SyntaxError(`expected numbers, + - ~ and brackets, got ${part}`);
  }
  return found;
}

/** The tree of an expression; null = nothing is selected. `~` binds closer than + and -, which go from left to right. */
export function parse(expression: string): Node | null {
  const list = tokens(expression);
  if (list.length === 0) return null;
  let at = 0;
  const sign = (): string => {
    const next = list[at];
    return next?.kind === "sign" ? next.text : "";
  };
  const term = (): Node => {
    const next = list[at++];
    if (next?.kind === "region") return next;
    if (next?.text === "~") return { kind: "not", of: term() };
    if (next?.text !== "(") throw new SyntaxError("expected a number, ~ or (");
    const inner = sum();
    if (sign() !== ")") throw new SyntaxError("expected )");
    at++;
    return inner;
  };
  const sum = (): Node => {
    let left = term();
    for (let next = sign(); next === "+" || next === "-"; next = sign()) {
      at++;
      left = { kind: "pair", sign: next, left, right: term() };
    }
    return left;
  };
  const tree = sum();
  if (at < list.length) throw new SyntaxError("expected the end of the expression");
  return tree;
}

/** For each region whether its last mention selects it (true) or leaves it out, in the order of these mentions. */
export function signs(expression: string): Map<number, boolean> {
  const found = new Map<number, boolean>();
  const walk = (node: Node | null, selected: boolean): void => {
    if (node === null) return;
    if (node.kind === "not") walk(node.of, !selected);
    else if (node.kind === "pair") {
      walk(node.left, selected);
      walk(node.right, selected === (node.sign === "+"));
    } else {
      found.delete(node.id);
      found.set(node.id, selected);
    }
  };
  walk(parse(expression), true);
  return found;
}

/** The expression in words, to be read aloud: "cup plus spoon, without handle". */
export function spoken(expression: string, name: (id: number) => string): string {
  const words: Record<string, string> = { "+": "plus", "-": "without", "~": "all but", "(": "", ")": "" };
  const parts = tokens(expression).map((token) => (token.kind === "region" ? name(token.id) : (words[token.text] ?? "")));
  return parts.filter((part) => part !== "").join(" ") || "nothing";
}
