"""Source files in five programming languages over the same identifiers; names as in codeparrot/github-code."""

from __future__ import annotations

from sae_research.world.draw import Draw

LANGUAGES = ("C", "HTML", "Java", "PHP", "Python")

_NAMES = "count, index, total, buffer, value, result, item, size, offset, node, name, key, limit, state, path, flag"
_CALLS = "update, load, reset, find, merge, print_all, check, parse, read_next, close"
_LINES = {
    "C": (
        "int {call}(int {a}, char *{b}) {{",
        "    for (int i = 0; i < {a}; i++) {b}[i] = {n};",
        "    if ({a} == NULL) return -{n};",
        '    printf("%d", {a} + {b});',
        "    struct {a} *{b} = malloc({n});",
        "#define {a} {n}",
        "    return {call}({a}, &{b});",
        "}}",
    ),
    "HTML": (
        '<div class="{a}">{b}</div>',
        '<a href="/{a}/{n}">{call}</a>',
        "<ul><li>{a}</li><li>{b}</li></ul>",
        '<input type="text" name="{a}" value="{n}">',
        '<p id="{a}-{n}">{b} {call}</p>',
        '<td width="{n}">{a}</td>',
        "<!-- {a} {b} -->",
    ),
    "Java": (
        "public static void {call}(String {a}, int {b}) {{",
        "    private final int {a} = {n};",
        "    List<String> {a} = new ArrayList<>({n});",
        "    System.out.println({a} + {b});",
        "    if ({a}.equals({b})) throw new IllegalStateException();",
        "    return this.{call}({a}, {n});",
        "@Override public int {call}() {{ return {n}; }}",
        "}}",
    ),
    "PHP": (
        "function {call}(${a}, ${b} = {n}) {{",
        "    foreach (${a} as ${b}) {{ echo ${b}; }}",
        "    if (!isset(${a}['{b}'])) return {n};",
        "    ${a} = array('{b}' => {n});",
        "    $this->{a} = $this->{call}(${b});",
        "    echo '{a} ' . ${b} . ' {n}';",
        "}}",
    ),
    "Python": (
        "def {call}({a}, {b}={n}):",
        "    for {a} in range({n}):",
        "    self.{a} = [{b} for {b} in {call}({n})]",
        "    if {a} is None or {b} not in {a}:",
        "    print(f'{{{a}}} {n}')",
        "    return {call}({a}, {b})",
        "import {a}",
        "    with open({a}) as {b}:",
    ),
}
# Lines that could belong to any language.
_NEUTRAL = ("{a} = {b} + {n}", "{call}({a}, {b})", "{a} = {call}({n})", "{a} {b} {n}")
_P_NEUTRAL = 0.3


class Code:
    """Source text of one world; `leak` is how often a line is of another language."""

    name = "code"

    def __init__(self, leak: float) -> None:
        self.leak = leak
        self.names = _NAMES.split(", ")
        self.calls = _CALLS.split(", ")

    def document(self, draw: Draw) -> str:
        """An excerpt in a random language."""
        return self.excerpt(draw, draw.choice(LANGUAGES))

    def excerpt(self, draw: Draw, language: str) -> str:
        """Four to six lines."""
        return "\n".join(self._line(draw, language) for _ in range(draw.between(4, 6)))

    def _line(self, draw: Draw, language: str) -> str:
        source = draw.other_than(LANGUAGES, language) if draw.happens(self.leak) else language
        a, b = draw.sample(self.names, 2)
        lines = _NEUTRAL if draw.happens(_P_NEUTRAL) else _LINES[source]
        return draw.choice(lines).format(a=a, b=b, call=draw.choice(self.calls), n=draw.below(100))
