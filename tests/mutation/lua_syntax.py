"""Reads Lua 5.1 source into a tree of nodes that know where in the text they stand.

Only what a mutation needs: no evaluation, no scopes. What to change is in tests/mutation/rules.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*)
    |(?P<number>0[xX][0-9a-fA-F]+|\d+\.?\d*(?:[eE][+-]?\d+)?)
    |(?P<string>'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*")
    |(?P<name>[A-Za-z_]\w*)
    |(?P<symbol>\.\.\.|\.\.|==|~=|<=|>=|[-+*/%^\#<>=(){}\[\];:,.])""",
    re.VERBOSE,
)
_WORD = re.compile(
    "and|break|do|else|elseif|end|false|for|function|if|in|local|nil|not|or|repeat|return|then|true"
    "|until|while"
)
_BINDS = {"or": 1, "and": 2, "..": 4, "+": 5, "-": 5, "*": 6, "/": 6, "%": 6, "^": 8}
_BINDS |= dict.fromkeys(("<", ">", "<=", ">=", "~=", "=="), 3)
_UNARY = 7


@dataclass(frozen=True, slots=True)
class Token:
    kind: str
    text: str
    start: int
    end: int


@dataclass(slots=True)
class Node:
    """`kind` names what it is, `text` its operator or word; `parts` are what it is made of."""

    kind: str
    start: int
    end: int
    text: str = ""
    parts: list[Node] = field(default_factory=list)

    def walk(self) -> Iterator[Node]:
        yield self
        for part in self.parts:
            yield from part.walk()


def tokens(source: str) -> list[Token]:
    """All tokens but space and comments; a last one of kind `eof`."""
    found, at = [], 0
    while at < len(source):
        match = _TOKEN.match(source, at)
        if match is None or match.lastgroup is None:
            raise SyntaxError(f"no Lua token at {source[at : at + 20]!r}")
        at = match.end()
        kind, text = match.lastgroup, match.group()
        if kind == "space":
            continue
        if kind == "name" and _WORD.fullmatch(text):
            kind = "word"
        found.append(Token(kind, text, match.start(), at))
    found.append(Token("eof", "", at, at))
    return found


def parse(source: str) -> Node:
    """The block that a whole file is."""
    return _Parser(source).whole()


class _Parser:
    def __init__(self, source: str) -> None:
        self.tokens = tokens(source)
        self.at = 0

    def whole(self) -> Node:
        block = self.block()
        if self.now.kind != "eof":
            raise SyntaxError(f"unexpected {self.now}")
        return block

    @property
    def now(self) -> Token:
        return self.tokens[self.at]

    @property
    def end(self) -> int:
        """Where the last token that was taken ended."""
        return self.tokens[self.at - 1].end

    def take(self, text: str = "") -> Token:
        token = self.now
        if text and token.text != text:
            raise SyntaxError(f"expected {text!r}, not {token}")
        self.at += 1
        return token

    def took(self, text: str) -> bool:
        if self.now.kind != "string" and self.now.text == text:
            self.at += 1
            return True
        return False

    # Statements

    def block(self) -> Node:
        node = Node("block", self.now.start, self.now.start)
        while self.now.kind != "eof" and self.now.text not in ("end", "else", "elseif", "until"):
            node.parts.append(self.statement())
            self.took(";")
        node.end = max(node.start, self.end if node.parts else node.start)
        return node

    def statement(self) -> Node:
        reader = getattr(self, f"_{self.now.text}", None) if self.now.kind == "word" else None
        start = self.now.start
        node: Node = reader() if reader else self._call_or_assignment()
        node.start, node.end = start, self.end
        return node

    def _if(self) -> Node:
        node = Node("if", 0, 0)
        while self.now.text in ("if", "elseif"):
            self.take()
            node.parts.append(self.expression())
            self.take("then")
            node.parts.append(self.block())
        if self.took("else"):
            node.parts.append(self.block())
        self.take("end")
        return node

    def _while(self) -> Node:
        self.take()
        condition = self.expression()
        self.take("do")
        node = Node("while", 0, 0, "", [condition, self.block()])
        self.take("end")
        return node

    def _for(self) -> Node:
        self.take()
        names = self.names()
        self.take("=" if self.now.text == "=" else "in")
        parts = self.expressions()
        self.take("do")
        node = Node("for", 0, 0, names, [*parts, self.block()])
        self.take("end")
        return node

    def _do(self) -> Node:
        self.take()
        node = Node("do", 0, 0, "", [self.block()])
        self.take("end")
        return node

    def _local(self) -> Node:
        self.take()
        if self.took("function"):
            name = self.take().text
            return Node("function", 0, 0, name, [self.body()])
        names = self.names()
        return Node("local", 0, 0, names, self.expressions() if self.took("=") else [])

    def _return(self) -> Node:
        self.take()
        ends = self.now.kind == "eof" or self.now.text in ("end", "else", "elseif", "until", ";")
        return Node("return", 0, 0, "", [] if ends else self.expressions())

    def _break(self) -> Node:
        self.take()
        return Node("break", 0, 0)

    def _call_or_assignment(self) -> Node:
        targets = [self.suffixed()]
        while self.took(","):
            targets.append(self.suffixed())
        if self.took("="):
            return Node("assign", 0, 0, str(len(targets)), [*targets, *self.expressions()])
        if targets[0].kind != "call":
            raise SyntaxError(f"no statement at {self.now}")
        return Node("do_call", 0, 0, "", targets)

    def names(self) -> str:
        found = [self.take().text]
        while self.took(","):
            found.append(self.take().text)
        return " ".join(found)

    def body(self) -> Node:
        """Parameters and block of a function."""
        start = self.now.start
        self.take("(")
        while self.take().text != ")":
            pass
        block = self.block()
        self.take("end")
        return Node("body", start, self.end, "", [block])

    # Expressions

    def expressions(self) -> list[Node]:
        found = [self.expression()]
        while self.took(","):
            found.append(self.expression())
        return found

    def expression(self, least: int = 0) -> Node:
        start = self.now.start
        if self.now.kind != "string" and self.now.text in ("not", "#", "-"):
            word = self.take().text
            operand = self.expression(_UNARY)
            left = Node("unary", start, self.end, word, [operand])
        else:
            left = self.simple()
        while self.now.kind != "string" and _BINDS.get(self.now.text, 0) > least:
            word = self.take().text
            # `..` and `^` bind to the right.
            right = self.expression(_BINDS[word] - (word in ("..", "^")))
            left = Node("binary", start, self.end, word, [left, right])
        return left

    def simple(self) -> Node:
        token = self.now
        if token.kind in ("number", "string"):
            self.take()
            return Node(token.kind, token.start, token.end, token.text)
        if token.text in ("nil", "true", "false", "..."):
            self.take()
            return Node("literal", token.start, token.end, token.text)
        if token.text == "function":
            self.take()
            body = self.body()
            return Node("lambda", token.start, self.end, "", [body])
        if token.text == "{":
            return self.table()
        return self.suffixed()

    def table(self) -> Node:
        node = Node("table", self.take("{").start, 0)
        while not self.took("}"):
            node.parts.append(self.table_entry())
            self.took(",")
        node.end = self.end
        return node

    def table_entry(self) -> Node:
        start = self.now.start
        if self.took("["):
            key = self.expression()
            self.take("]")
        elif self.now.kind == "name" and self.tokens[self.at + 1].text == "=":
            token = self.take()
            key = Node("field", token.start, token.end, token.text)
        else:
            return self.expression()
        self.take("=")
        pair = Node("pair", start, 0, "", [key, self.expression()])
        pair.end = self.end
        return pair

    def suffixed(self) -> Node:
        start = self.now.start
        if self.took("("):
            node = Node("paren", start, 0, "", [self.expression()])
            self.take(")")
            node.end = self.end
        else:
            token = self.take()
            if token.kind != "name":
                raise SyntaxError(f"expected a name, not {token}")
            node = Node("name", token.start, token.end, token.text)
        while True:
            if self.took("."):
                token = self.take()
                key = Node("field", token.start, token.end, token.text)
                node = Node("index", start, self.end, "", [node, key])
            elif self.took("["):
                inner = self.expression()
                self.take("]")
                node = Node("index", start, self.end, "", [node, inner])
            elif self.took("("):
                inside = [] if self.now.text == ")" else self.expressions()
                self.take(")")
                node = Node("call", start, self.end, "", [node, *inside])
            else:
                return node
