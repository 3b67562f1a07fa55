"""The Jinja environment of mail templates: nothing leads to the interpreter, and all work is counted.

Imported when the first template is rendered, never before: it loads Jinja.
"""

import re
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, ValuesView
from functools import wraps
from html import unescape
from typing import Any, cast

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, Undefined, nodes, pass_context, pass_eval_context
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS, make_attrgetter, sync_do_join
from jinja2.runtime import LoopContext, Macro, markup_join, str_join
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace, _PassArg  # pyright: ignore[reportPrivateUsage] - tells what a filter is given first
from jinja2.visitor import NodeTransformer
from markupsafe import Markup

from processors.email_template_budget import TooMuch, budget, size_of
from processors.messages import text_of

FILTER_NAMES = frozenset(
    "abs batch capitalize center count d default dictsort e escape first float format groupby indent int items join "  # noqa: SIM905 - a list of words reads best as one
    "last length list lower map max min reject rejectattr replace reverse round safe select selectattr slice sort "
    "string sum title tojson trim truncate unique upper urlencode wordcount wordwrap xmlattr".split()
)
"""Without those that draw by chance (a retry gives the same bytes), reach attributes, or cost more than they show."""

STATEMENTS = (nodes.Import, nodes.FromImport, nodes.ScopedEvalContextModifier, nodes.EvalContextModifier)
MEASURING = frozenset({"batch", "center", "indent", "round", "slice", "tojson", "truncate", "wordwrap"})
OF_TEXT = frozenset(
    "capitalize center e escape format indent lower replace safe string title trim truncate upper wordcount "  # noqa: SIM905 - as above
    "wordwrap".split()
)
"""These make a text of whatever they are given; a list would be shown as Python writes it."""

WIDEST = 1_000
LONGEST_WRAPPED = 20_000
LARGEST_PRODUCT = 20_000_000
METHODS: dict[type, frozenset[str]] = {
    str: frozenset(
        "capitalize count endswith find isalpha isdigit lower lstrip removeprefix removesuffix rstrip split splitlines "  # noqa: SIM905 - as above
        "startswith strip title upper".split()
    ),
    dict: frozenset({"get", "items", "keys", "values"}),
    list: frozenset({"count", "index"}),
    LoopContext: frozenset(
        "changed cycle depth depth0 first index index0 last length nextitem previtem revindex revindex0".split()  # noqa: SIM905 - as above
    ),
}
OBJECTS = (Macro, LoopContext, Namespace)
"""What a template may call, hold or hand on, beside values; never printed."""

EDGE = "\ufdd0"
"""Stands at both ends of HTML while it is read, so that blanks and lines there stay; no text has it (Unicode 23.7)."""

WIDTHS = re.compile(r"%[^a-zA-Z%]*?(\*|\d{4,})")


class Sandbox(ImmutableSandboxedEnvironment):
    """Renders what nobody has to trust, within the budget of the thread.

    Args:
        autoescape: whether values become HTML.
        prints_text: whether HTML that is printed becomes its readable text; it does wherever values are not escaped.
    """

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def __init__(self, *, autoescape: bool, prints_text: bool = False, **options: Any) -> None:
        super().__init__(
            autoescape=autoescape,
            undefined=StrictUndefined,
            finalize=_printed,
            optimized=False,  # constants are reckoned with the budget of a rendering
            **options,
        )
        self.prints_text = prints_text or not autoescape
        self.globals = {"range": _range, "namespace": Namespace}
        self.filters = {name: _bounded(name, FILTERS[name]) for name in FILTER_NAMES}
        self.filters["join"] = _bounded("join", _joined)
        self.filters |= {"(looped)": _looped, "(made)": _made, "(concat)": _concat}

    def guarded(self, source: str, name: str) -> Any:
        """Return the compiled code of a source.

        Raises:
            TemplateSyntaxError: it is none, or uses a statement that mail templates have not.
        """
        tree = self.parse(source, name)
        for statement in tree.find_all(STATEMENTS):
            message = "import and autoescape are no statements of mail templates"
            raise TemplateSyntaxError(message, statement.lineno, name)
        return self.compile(cast("nodes.Template", _Guard().visit(tree)), name, name)

    def compiled(self, source: str, name: str) -> Template:
        """Return what renders a source, within the budget of the thread that does it.

        Raises:
            TemplateSyntaxError: it is no template, or uses a statement that mail templates have not.
        """
        return self.template_class.from_code(self, self.guarded(source, name), self.globals)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:  # noqa: ARG002 - Jinja's signature
        """Reckon, within bounds that are looked at first."""
        budget().step()
        sizes = size_of(left), size_of(right)
        if operator == "*" and isinstance(left, str | list | tuple) and isinstance(right, int):
            _check_product(sizes[0], right)
        if operator == "*" and isinstance(right, str | list | tuple) and isinstance(left, int):
            _check_product(sizes[1], left)
        if operator == "**" and isinstance(left, int) and isinstance(right, int):
            _check_product(max(1, left.bit_length()) * 1_000, abs(right))
        if operator == "%" and isinstance(left, str):
            raise SecurityError("a text takes no %; use ~ to put texts together")
        return budget().made(self.binop_table[operator](left, right))

    def call(self, context: Any, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a macro, a loop or a harmless method."""
        budget().step()
        budget().made([one for one in (*args, *kwargs.values()) if not isinstance(one, OBJECTS)])
        if isinstance(obj, LoopContext):
            args = (_looped(args[0]), *args[1:])
        if not self.is_safe_callable(obj):  # Jinja's own words have an address in memory
            name = getattr(obj, "__name__", type(obj).__name__)
            raise SecurityError(f"{name} cannot be called; use a filter, as there are format, round and join")
        budget().depth -= 1
        if budget().depth < 0:
            raise TooMuch("its calls lie too deep in each other: a macro or a loop calls itself without end")
        try:
            made = super().call(context, obj, *args, **kwargs)
            made = list(cast("Iterable[Any]", made)) if isinstance(made, KeysView | ValuesView | ItemsView) else made
            return made if isinstance(made, OBJECTS) else budget().made(made)
        finally:
            budget().depth += 1

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Tell whether a template may read an attribute: only what is known to be harmless."""
        if isinstance(obj, Namespace):
            return not attr.startswith("_")
        allowed = next((names for kind, names in METHODS.items() if isinstance(obj, kind)), frozenset[str]())
        return attr in allowed and super().is_safe_attribute(obj, attr, value)

    def is_safe_callable(self, obj: Any) -> bool:
        """Tell whether a template may call an object."""
        own = isinstance(obj, Macro | LoopContext) or obj in {_range, Namespace}
        return own or self._is_harmless_method(obj)

    def _is_harmless_method(self, obj: Any) -> bool:
        owner = getattr(obj, "__self__", None)
        return any(isinstance(owner, kind) and obj.__name__ in names for kind, names in METHODS.items())

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return a dict's own key before a method of the same name."""
        if isinstance(obj, dict) and attribute in obj:
            return cast("dict[str, Any]", obj)[attribute]
        return super().getattr(obj, attribute)


class _Guard(NodeTransformer):
    """Puts a count around all that can repeat, grow or be long."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - Jinja's name
        self.generic_visit(node)
        node.iter = _filtered(node.iter, "(looped)")
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 - Jinja's name
        self.generic_visit(node)
        return _filtered(nodes.List(node.nodes, lineno=node.lineno), "(concat)")

    def visit_List(self, node: nodes.List) -> nodes.Node:  # noqa: N802 - Jinja's name
        self.generic_visit(node)
        return _filtered(node, "(made)")

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:  # noqa: N802 - Jinja's name
        self.generic_visit(node)
        return _filtered(node, "(made)")

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802 - Jinja's name
        self.generic_visit(node)
        return _filtered(node, "(made)") if node.ctx == "load" else node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802 - Jinja's name
        self.generic_visit(node)
        return _filtered(node, "(made)") if isinstance(node.arg, nodes.Slice) else node


def _filtered(node: Any, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


def _looped(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        budget().step()
        yield value


def _made(value: Any) -> Any:
    budget().step()
    return budget().made(value)


@pass_eval_context
def _concat(context: Any, values: list[Any]) -> str:
    _made([_text(value) for value in values])
    return budget().made(markup_join(values) if context.autoescape else str_join(values))


@pass_eval_context
def _joined(context: Any, values: Iterable[Any], between: Any = "", attribute: Any = None) -> str:
    """Put what can be printed together, as the filter join does."""
    if attribute is not None:
        values = map(make_attrgetter(context.environment, attribute), values)
    return sync_do_join(context, [_text(value) for value in values], between)


@pass_context
def _printed(context: Any, value: Any) -> Any:
    """Return what is printed for a value: null is nothing, and HTML is its readable text where a text is made."""
    budget().step()
    text = budget().made(_text(value))
    if not context.environment.prints_text or not isinstance(text, Markup):
        return text
    return _read(text) if context.eval_ctx.autoescape else _read(text).strip()


def _read(html: Markup) -> str:
    """Return the readable text of HTML, with the blanks and lines at its ends."""
    if "<" not in html:
        return unescape(html)
    return text_of(f"{EDGE}{html}{EDGE}").strip("\n").replace(EDGE, "")


def _text(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, Undefined):
        return str(value)  # raises, but for what an if without else leaves out
    if isinstance(value, str | int | float):
        return value
    raise TypeError(f"a {type(value).__name__} cannot be printed: go through it with a loop, or use the filter join")


def _range(*bounds: int) -> list[int]:
    found = range(*bounds)
    budget().step(len(found) if -(2**62) < (found.stop - found.start) < 2**62 else 2**62)
    return list(found)


def _check_product(size: int, times: int) -> None:
    if size * max(1, times) > LARGEST_PRODUCT:
        raise TooMuch("it makes a value of too many characters or items")


def _bounded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that looks at what it is given before it works, and counts what it makes."""
    passed = _PassArg.from_obj(function) is not None

    @wraps(function)
    def within(*given: Any, **named: Any) -> Any:
        first, value, *rest = given if passed else (None, *given)
        budget().step()
        value = _bounded_value(name, value)
        _check_arguments(name, value, [*rest, *named.values()])
        result = function(first, value, *rest, **named) if passed else function(value, *rest, **named)
        return budget().made(list(_looped(cast("Iterator[Any]", result))) if isinstance(result, Iterator) else result)

    return within


def _bounded_value(name: str, value: Any) -> Any:
    budget().made(value)
    if name in OF_TEXT:
        value = _text(value)
    if name == "wordwrap" and size_of(value) > LONGEST_WRAPPED:
        raise TooMuch(f"wordwrap takes at most {LONGEST_WRAPPED} characters")
    if name == "format" and WIDTHS.search(str(value)):
        raise TooMuch("format takes no width of more than three digits")
    return value


def _check_arguments(name: str, value: Any, arguments: list[Any]) -> None:
    longest = max((len(one) for one in arguments if isinstance(one, str | Markup)), default=1)
    _check_product(size_of(value), longest)
    for one in arguments:
        size_of(one)
        if name in {"d", "default"}:
            continue
        if isinstance(one, Undefined):
            str(one)  # raises, as above
        if isinstance(one, list | tuple | dict):
            raise TypeError(f"the filter {name} takes no list as its argument")
        if name in MEASURING and isinstance(one, int) and abs(one) > WIDEST:
            raise TooMuch(f"the filter {name} takes no number above {WIDEST}")
