"""What a mail template may do, and that all it does ends."""

import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import TemplateError, UndefinedError

from processors.email_template_budget import Budget, TooMuch, limited
from processors.email_template_sandbox import Sandbox

MOST_MEMORY_KIB = 400_000


def rendered(source, autoescape=True, budget=None, **context):
    with limited(budget or Budget()):
        return Sandbox(autoescape=autoescape).compiled(source, "mail.html").render(context)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ name }}", "&lt;b&gt;"),
        ("{% for i in range(3) %}{{ loop.index }}/{{ loop.length }} {% endfor %}", "1/3 2/3 3/3 "),
        ("{{ order.items|join(', ') }}", "tea, cup"),
        ("{{ none }}", ""),
        ("{{ none|upper }}{{ [none, 1]|join }}{{ [{'a': none}]|join(attribute='a') }}", "1"),
        ("{{ {'a': 1, 'b': 2}.keys()|join }}{{ {'a': 1}.items()|list|length }}", "ab1"),
        ("{{ [{'a': 1}, {}]|map(attribute='a')|select('defined')|join }}", "1"),
        ("{{ [3, 1, 2]|reverse|batch(2)|first|join }}{{ range(4)[2:]|join }}", "2123"),
        ("{% for n, some in [{'n': 1}, {'n': 2}]|groupby('n') %}{{ n }}{{ some|length }}{% endfor %}", "1121"),
        ("{% macro f(a) %}({{ a }}){% endmacro %}{% macro m(g) %}{{ g(1) }}{% endmacro %}{{ m(f) }}", "(1)"),
        ("{{ 'x' if false }}", ""),
        ("{{ ('a' ~ '<')|upper }}", "A&lt;"),
        ("{% macro m(a) %}[{{ a }}]{% endmacro %}{{ m('z') }}", "[z]"),
        ("{{ [1, 2]|map('string')|join('-') }}", "1-2"),
        ("{% set ns = namespace(n=0) %}{% for i in [1, 2] %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}", "3"),
        ("{{ 'abc'[1:] }}{{ 'a'.upper() }}{{ '%.2f'|format(2) }}", "bcA2.00"),
    ],
)
def test_an_everyday_expression_renders(source, expected):
    assert rendered(source, name="<b>", order={"items": ["tea", "cup"]}) == expected


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ ''['__class__'] }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ range.__globals__ }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ self.__init__ }}",
        "{{ '{0.__class__}'.format(1) }}",
        "{{ '{a.__class__}'.format_map({'a': 1}) }}",
        "{{ ''|attr('__class__') }}",
        "{{ ['']|map(attribute='__class__')|list|first }}",
        "{% macro m() %}{% endmacro %}{{ m.__call__ }}",
        "{% for x in [1] %}{{ loop.__init__ }}{% endfor %}",
        "{{ d.clear() }}",
        "{{ d.update({}) }}",
        "{{ [].append(1) }}",
        "{% import 'other' as o %}",
        "{% autoescape false %}{{ d }}{% endautoescape %}",
    ],
)
def test_nothing_leads_to_the_interpreter_or_changes_the_context(source):
    context = {"d": {"a": 1}}
    with pytest.raises(TemplateError):
        rendered(source, **context)
    assert context == {"d": {"a": 1}}


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(10**12) %}x{% endfor %}",
        "{% for i in range(10**9) if false %}x{% endfor %}",
        "{% for i in range(1000) %}{% for j in range(1000) %}x{% endfor %}{% endfor %}",
        "{% for i in 'x' * 1000000 %}{{ i }}{% endfor %}",
        "{% for x in [1] recursive %}{{ loop([1, 1]) }}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(40) }}",
        "{{ 'a' * 10**9 }}",
        "{{ 10**9 * 'a' }}",
        "{{ [1] * 10**9 }}",
        "{{ 9**(9**9) }}",
        "{% set ns = namespace(n=3) %}{% for i in range(100) %}{% set ns.n = ns.n * ns.n %}{% endfor %}",
        "{{ 'a'|center(10**9) }}",
        "{{ 'a'|indent(10**9) }}",
        "{{ 1|round(10**9) }}",
        "{{ {}|tojson(10**9) }}",
        "{{ '%1000000000d'|format(1) }}",
        "{{ '%*d'|format(1000000000, 1) }}",
        "{{ ('a' * 10000)|replace('a', 'b' * 10000) }}",
        "{{ range(10000)|join('b' * 10000) }}",
        "{{ ('a' * 100000)|wordwrap(1) }}",
        "{% set ns = namespace(x='aa') %}{% for i in range(100) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        "{% set ns = namespace(x='aa') %}{% for i in range(100) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
        "{% set ns = namespace(x=[1]) %}{% for i in range(100) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}",
        "{% set ns = namespace(x=(1,)) %}{% for i in range(100) %}{% set ns.x = (ns.x, ns.x) %}{% endfor %}",
        "{% set ns = namespace(x={}) %}{% for i in range(100) %}{% set ns.x = {1: ns.x, 2: ns.x} %}{% endfor %}",
        "{% macro m() %}{{ m(varargs, varargs) }}{% endmacro %}{{ m(1) }}",
        "{% set x = 'a' * 900000 %}{% for i in range(1000) %}{% set y = x[1:] %}{% endfor %}",
        "{% set x = 'a' * 900000 %}{% for i in range(1000) %}{{ x }}{% endfor %}",
    ],
)
def test_endless_and_huge_work_ends_in_bounded_memory(source):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(TooMuch):
        rendered(source)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_MEMORY_KIB


@pytest.mark.parametrize(
    "value",
    [
        "x.upper",
        "[x.upper]|join",
        "x.upper|string",
        "x.upper|lower",
        "[x.upper]|string",
        "[[x.upper]]|tojson",
        "{'a': x.upper}|xmlattr",
        "x.upper ~ ''",
        "'%s'|format(x.upper)",
        "'%r'|format(nobody)",
        "x|replace('a', x.upper)",
        "x|default(x.upper)|string",
        "range|string",
        "[range]|join",
        "namespace(a=1)|string",
        "[namespace(a=1)]|join",
        "[x]|groupby('n')|join",
        "[x]|groupby('n')|string",
        "[[x]|map('upper')]|join|string|e ~ [m]|join",
        "(-8) ** 0.5 ~ ''",
        "m|string",
        "m",
        "x.split|e",
        "[nobody]|string",
        "[1]|string",
    ],
)
@pytest.mark.parametrize("autoescape", [True, False])
def test_nothing_but_texts_and_numbers_is_printed_by_whatever_filter(value, autoescape):
    """An address in memory tells what it must not, and differs at every attempt."""
    with pytest.raises((TypeError, TemplateError)):
        rendered(f"{{% macro m() %}}{{% endmacro %}}{{{{ {value} }}}}", autoescape, x="a")


def test_a_rendering_ends_when_its_time_is_over():
    with pytest.raises(TooMuch, match="longer than 0 s"):
        rendered("{{ 1 }}", budget=Budget(seconds=0))


def test_an_undefined_name_is_an_error():
    with pytest.raises(UndefinedError, match="'nobody' is undefined"):
        rendered("{{ nobody }}")


def test_texts_are_not_escaped_without_autoescape():
    assert rendered("{{ name }}", autoescape=False, name="<b>") == "<b>"


def test_html_becomes_readable_where_a_text_is_made():
    assert (
        rendered("{{ name|e }}, {{ page|safe }}", autoescape=False, name="<b>", page="<p>a &amp; b</p>") == "<b>, a & b"
    )


@given(value=st.text() | st.integers() | st.booleans() | st.none() | st.floats(allow_nan=False))
def test_no_value_of_a_context_becomes_a_tag(value):
    made = rendered("{{ v }}{{ v ~ v }}{{ [v, v]|join(v) }}{{ v|default('', true) }}{{ '%s'|format(v) }}", v=value)
    assert "<" not in made
    assert ">" not in made
