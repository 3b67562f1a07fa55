"""Mails made of templates: a page is made once, its tags stay where they are, and an error has its line."""

import re
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from html import escape
from html.parser import HTMLParser

import css_inline
import mrml
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import Environment

from processors import email_template_files, email_template_pages, email_templates
from processors.email_templates import Templates
from processors.errors import PermanentError, TransientError
from processors.messages import text_of

INLINER = css_inline.CSSInliner(keep_style_tags=True, keep_at_rules=True, load_remote_stylesheets=False)
COLUMN = "<mjml><mj-body><mj-section><mj-column>\n%s\n</mj-column></mj-section></mj-body></mjml>"


def templates(folder, **files) -> Templates:
    """Write files, `__` for / and the last `_` for the dot, and return the templates that they are."""
    for name, content in files.items():
        write(folder, re.sub(r"_(?=[a-z]+$)", ".", name).replace("__", "/"), content)
    return Templates(folder)


def write(folder, name, content):
    place = folder / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content if isinstance(content, bytes) else content.encode())


def body_of(html: str) -> str:
    return re.search(r"<body[^>]*>(.*)</body>", html, re.DOTALL)[1]


def html_of(folder, source, **context) -> str:
    return body_of(templates(folder, a_html=source).render("a", context).html)


# --- What a template is ----------------------------------------------------------------------------------------


def test_a_template_makes_page_text_and_subject_each_escaped_as_it_must_be(tmp_path):
    write(tmp_path, "welcome.subject.txt", "Welcome, {{ name }}\n")
    found = templates(tmp_path, welcome_html="<p>{{ name }}</p>", welcome_txt="Hi {{ name }}\n")
    made = found.render("welcome", {"name": "<Ann> & Bob"})
    assert body_of(made.html) == "<p>&lt;Ann&gt; &amp; Bob</p>"
    assert made.text == "Hi <Ann> & Bob"
    assert made.subject == "Welcome, <Ann> & Bob"


def test_a_text_alone_is_a_template_and_so_is_one_in_a_folder(tmp_path):
    made = templates(tmp_path, orders__shipped_txt="Order {{ id }}").render("orders/shipped", {"id": 7})
    assert (made.html, made.text, made.subject) == (None, "Order 7", None)


def test_mjml_is_compiled_with_values_in_texts_attributes_and_loops(tmp_path):
    source = COLUMN % (
        "{% if rows %}<mj-table>{% for row in rows %}<tr><td>{{ row }}</td></tr>{% endfor %}</mj-table>{% endif %}"
        '<mj-button href="{{ url }}?a=1&amp;n={% if rows %}{{ rows|length }}{% else %}0{% endif %}">Go</mj-button>'
    )
    made = templates(tmp_path, a_mjml=source).render("a", {"rows": ["a<b", "c"], "url": "https://x.example/"})
    assert "<mj-" not in made.html
    assert re.findall(r"<tr><td[^>]*>([^<]*)</td></tr>", made.html)[:2] == ["a&lt;b", "c"]
    assert 'href="https://x.example/?a=1&amp;n=2"' in made.html
    assert "fonts.googleapis.com" not in made.html
    assert made.text == "a<b\n\nc\n\nGo (https://x.example/?a=1&n=2)\n"


def test_styles_are_in_their_elements_and_rules_for_screens_stay(tmp_path):
    source = (
        "<style>p { color: red } @media (max-width: 9px) { p { color: blue } }</style><p style='width: {{ w }}%'>a</p>"
    )
    html = templates(tmp_path, a_html=source).render("a", {"w": 50}).html
    assert '<p style="color: red;width: 50%">a</p>' in html
    assert "@media (max-width: 9px)" in html


def test_a_page_of_many_rules_classes_and_elements_is_made(tmp_path):
    """As frameworks for mails have them: a long style sheet, of which each element gets little."""
    rules = "".join(
        f".c{n}, .none .c{n} > p, td.c{n}:hover, p#i{n} {{ color: red; margin: 0 auto; width: {n}px; }}"
        for n in range(2_000)
    )
    media = "@media (max-width: 9px) {" + "p, td, a { width: 100% !important }" * 500 + "}"
    body = "".join(f"<div class='c{n}'><p id='i{n}'>x</p></div>" for n in range(1_000))
    html = templates(tmp_path, a_html=f"<style>{rules}{media}</style>{body}").render("a", {}).html
    assert '<p id="i7" style="color: red;margin: 0 auto;width: 7px;">' in html


def test_styles_of_mjml_are_moved_into_their_elements_and_its_fonts_are_linked(tmp_path):
    head = (
        "<mj-style inline='inline'>.red { color: red }</mj-style><mj-font name='Own' href='https://f.example/own.css'/>"
    )
    source = COLUMN % "<mj-text font-family='Own'><p class='red'>a</p></mj-text>"
    html = (
        templates(tmp_path, a_mjml=source.replace("<mj-body>", f"<mj-head>{head}</mj-head><mj-body>"))
        .render("a", {})
        .html
    )
    assert 'color: red;">a</p>' in html
    assert re.search(r'<link [^>]*href="https://f\.example/own\.css"', html)


def test_extends_block_super_and_include_are_resolved_before_mjml(tmp_path):
    found = templates(
        tmp_path,
        base_mjml="<mjml><mj-body>{% block body %}{% include 'parts/foot.mjml' %}{% endblock %}</mj-body></mjml>",
        parts__foot_mjml="<mj-section><mj-column><mj-text>{{ city }}</mj-text></mj-column></mj-section>",
        a_mjml=(
            "{% extends 'base.mjml' %}\n{% set who = name|upper %}\n{% block body %}<mj-section><mj-column><mj-text>"
            "Hi {{ who }}</mj-text></mj-column></mj-section>{{ super() }}{% endblock %}"
        ),
    )
    assert found.render("a", {"name": "ann", "city": "Köln"}).text == "Hi ANN\n\nKöln\n"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{% raw %}{{ x }}{% endraw %}", "{{ x }}"),
        ("{{ '{{' }}{", "{{{"),
        ("{# gone #}<p>a</p>", "<p>a</p>"),
        ("{% macro link(u) %}<a href='{{ u }}'>l</a>{% endmacro %}{{ link('a&b') }}", '<a href="a&amp;b">l</a>'),
        ("{% set x %}<b>hi</b>{% endset %}<p>{{ x }}</p>", "<p><b>hi</b></p>"),
        (
            '<p title="{{ v }}" class=\'{% if v %}a"b{% endif %}\'>',
            '<p class="a&quot;b" title="&#34;&gt;&lt;x&gt;"></p>',
        ),
        (
            '<!--[if mso]><td title="{{ 1 }}" class="{{ 2 }}"><![endif]-->',
            '<!--[if mso]><td title="1" class="2"><![endif]-->',
        ),
        ("<!--{{ v }}-->", "<!--&#34;&gt;&lt;x&gt;-->"),
        (
            "<table>{% for i in [1, 2] %}<tr><td>{{ i }}</td></tr>{% endfor %}</table>",
            "<table><tbody><tr><td>1</td></tr><tr><td>2</td></tr></tbody></table>",
        ),
        ("zqjs0z <p>{{ v|length }} zqjs1w</p>", "zqjs0z <p>5 zqjs1w</p>"),
        ("{% if v %}{% set (a, b) = (v, 2) %}<p>{{ b }}</p>{% endif %}", "<p>2</p>"),
        ("{% if v %}<p>a</p>{% elif x %}b{% else %}c{% endif %}", "<p>a</p>"),
        ("1 < 2 {{ 3 }}", "1 &lt; 2 3"),
        ("<svg><path d='{{ 1 }}'/></svg>", '<svg><path d="1"></path></svg>'),
        ("<br>{{ none }}", "<br>"),
    ],
)
def test_a_page_renders_as_its_author_wrote_it(tmp_path, source, expected):
    assert html_of(tmp_path, source, v='"><x>') == expected


def test_a_text_made_of_a_page_has_no_gaps_where_conditions_left_something_out(tmp_path):
    source = "<p>a</p>{% if no %}<p>b</p><p>c</p>{% endif %}{% for i in [1, 2] %}<li>{{ i }}</li>{% endfor %}"
    source += "<p>{{ h|safe }}</p>"
    made = templates(tmp_path, a_html=source).render("a", {"no": False, "h": "<b>x</b> &amp; y"})
    assert made.text == "a\n\n1\n\n2\n\nx & y\n"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (r"""<p>{{ x|e|replace("\n", "<br>"|safe) }}</p>""", "a & b\nc\n"),
        ("""<p>{{ ["<b>y</b>"|safe, x]|join(", ") }}</p>""", "y, a & b c\n"),
        ("""<p>{{ "<b>k</b>"|safe|replace("k", "l") }}</p>""", "l\n"),
        (r"""<p>{{ "<b>k</b> "|safe ~ x|replace("\n", " ") }}</p>""", "k a & b c\n"),
        ("""{{ "<p>k</p>"|safe }}{{ "<p>l</p>"|safe }}""", "k\n\nl\n"),
        ("""<p>{{ "<b>k </b>"|safe }}l</p>""", "k l\n"),
        (
            """{% macro m(v) %}<p>1 &lt; 2 {{ v }}</p>{% endmacro %}{{ m(x) }}{{ m("<b>"|e) }}""",
            "1 < 2 a & b\nc\n\n1 < 2 <b>\n",
        ),
        ("""{% set s %}<b>k</b> &amp;amp; {{ x }}{% endset %}<p>{{ s }}</p>""", "k &amp; a & b\nc\n"),
        ("""<p>&amp;lt; {{ "&amp;lt;" }} {{ "&lt;"|safe }}</p>""", "&lt; &amp;lt; <\n"),
        ("""<a href="{{ x }}?a=1&amp;b={{ "&" }}">k</a>""", "k (a & b\nc?a=1&b=&)\n"),
    ],
)
def test_a_text_that_is_made_of_a_page_says_what_the_page_says(tmp_path, source, text):
    assert templates(tmp_path, a_html=source).render("a", {"x": "a & b\nc"}).text == text


def test_a_text_of_its_own_stays_as_it_is_written(tmp_path):
    source = "Dear {{ name }},\n\n\n{% if no %}\nno\n{% endif %}\n  - a\n\n\n-- \nbye\n"
    made = templates(tmp_path, a_txt=source).render("a", {"name": "Ann", "no": False})
    assert made.text == "Dear Ann,\n\n\n  - a\n\n\n-- \nbye"


def test_the_same_context_gives_the_same_mail(tmp_path):
    found = templates(tmp_path, a_html="{% for k, v in d.items() %}<p>{{ k }}{{ v }}</p>{% endfor %}")
    assert len({found.render("a", {"d": {"b": 1, "a": 2}}) for _ in range(3)}) == 1


# --- When it is made -------------------------------------------------------------------------------------------


def test_a_page_is_made_once_and_again_when_any_of_its_files_changes(tmp_path, monkeypatch):
    made = []
    make = email_template_pages.made
    monkeypatch.setattr(email_template_pages, "made", lambda *a, **k: made.append(1) or make(*a, **k))
    found = templates(tmp_path, a_html="{% include 'b.html' %}", b_html="<p>1</p>")
    assert {body_of(found.render("a", {}).html) for _ in range(5)} == {"<p>1</p>"}
    assert len(made) == 1
    write(tmp_path, "b.html", "<p>2</p>")
    assert body_of(found.render("a", {}).html) == "<p>2</p>"
    write(tmp_path, "a.txt", "a text")
    assert found.render("a", {}).text == "a text"
    (tmp_path / "a.txt").unlink()
    assert found.render("a", {}).text == "2\n"
    assert len(made) == 4


def test_a_template_that_is_mended_is_used_and_a_broken_one_is_not_made_again_for_every_mail(tmp_path, monkeypatch):
    made = []
    make = email_templates.pieces_of
    monkeypatch.setattr(email_templates, "pieces_of", lambda *a: made.append(1) or make(*a))
    found = templates(tmp_path, a_html="{% include 'b.html' %}")
    for _ in range(5):
        with pytest.raises(PermanentError, match=r"a\.html line 1: b\.html is no file in"):
            found.render("a", {})
    assert len(made) == 1
    write(tmp_path, "b.html", "b")
    assert body_of(found.render("a", {}).html) == "b"


def test_a_template_is_compiled_once_for_all_threads_and_keeps_no_other_template_waiting(tmp_path, monkeypatch):
    made, began, go_on = [], threading.Event(), threading.Event()
    make = email_template_pages.made

    def slow(pieces, file, **named):
        made.append(file)
        if file == "a.html":
            began.set()
            assert go_on.wait(60)
        return make(pieces, file, **named)

    monkeypatch.setattr(email_template_pages, "made", slow)
    found = templates(tmp_path, a_html="a", b_html="b")
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(found.render, "a", {}) for _ in range(3)]
        assert began.wait(60)
        try:
            assert pool.submit(found.render, "b", {}).result(60).text == "b\n"
        finally:
            go_on.set()
        assert {one.result(60).text for one in waiting} == {"a\n"}
    assert made == ["a.html", "b.html"]


def test_no_more_templates_are_kept_than_are_used(tmp_path, monkeypatch):
    monkeypatch.setattr(email_templates, "MOST_KEPT", 2)
    found = templates(tmp_path, a_txt="a", b_txt="b", c_txt="c")
    for name in "abcab":
        assert found.render(name, {}).text == name
    assert len(found._kept) == 2


# --- What is wrong ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("<p>\n\n{{ nmae }}</p>", "a.html line 3: 'nmae' is undefined; the context has name."),
        ("<p>\n{{ name.first.second }}</p>", "a.html line 2: 'str object' has no attribute 'first'."),
        ("{% for i in range(10**9) %}x{% endfor %}", "a.html line 1: it takes too many steps"),
        ("\n{{ [name.upper]|join }}", "a.html line 2: a builtin_function_or_method is no value: texts, numbers, true,"),
        ("\n{{ ''.__class__.__mro__ }}", "a.html line 2: access to attribute '__class__' of 'str' object is unsafe."),
        ("a\n{% if name %}", "a.html line 2: Unexpected end of template."),
        ("a\n{{ name + }}", "a.html line 2: unexpected 'end of print statement'."),
        ("a\n\n<p>{{ 1 / 0 }}</p>", "a.html line 3: division by zero."),
        ("a\n<p\n title='\n{{ 1 / 0 }}'></p>", "a.html line 4: division by zero."),
        ("{{ [1] }}", "a.html line 1: a list cannot be printed"),
        ("{{ {'a': 1}['b'] }}", "a.html line 1: 'dict object' has no attribute 'b'."),
        ("{{ 'a' + 1 }}", "a.html line 1: can only concatenate str"),
        ("{% macro m() %}{{ m() }}{% endmacro %}\n{{ m() }}", "a.html line 1: its calls lie too deep in each other"),
        ("{% import 'b.html' as b %}", "a.html line 1: import and autoescape are no statements of mail templates."),
        ("{% include name %}", "a.html line 1: include takes the name of one file in quotes"),
        ("\n{% include 'c.html' %}", "a.html line 2: c.html is no file in"),
        ("\n{% include '../b.html' %}", "a.html line 2: '../b.html' names no file of a template"),
        ("{% include 'a.html' %}", "a.html is inside itself: a.html → a.html."),
        ("{% extends 'b.html' %}", "a.html is inside itself: a.html → b.html → a.html."),
        (
            "{% extends 'e.html' %}\n\nhi",
            "a.html line 3: after {% extends %} all but {% set … %} stands in blocks; got 'hi'.",
        ),
        ("{% block a %}{% endblock %}\n{% block a %}{% endblock %}", "a.html line 2: there are two blocks a"),
        ("{{ super() }}", "a.html line 1: super() has nothing above it"),
        ("<p {{ name }}>", "a.html line 1: a template's tag cannot stand in this place of an element's tag"),
        ("<p class={{ name }}>", "a.html line 1: a template's tag cannot stand in this place of an element's tag"),
        (
            "<style>\np { color: {{ name }} }</style>",
            "a.html line 2: a template's tag cannot stand in a style or script",
        ),
        (
            "{% if name %}<div>{% endif %}\nx{% if name %}\n</div>{% endif %}",
            "a.html line 1: {% endif %} stands in another element or value than {% if %} in a.html line 1",
        ),
        (
            "{% if name %}{% set (a, b) = (1, 2) %}<div>{% endif %}\n{% if name %}</div>{% endif %}",
            "a.html line 1: {% endif %} stands in another element or value than {% if %} in a.html line 1",
        ),
        (
            "<a href='{% if 1 %}'>\n</a><a href='{% endif %}'></a>",
            "a.html line 2: {% endif %} stands in another element",
        ),
        (
            "{% for i in [1, 2] %}<table>\n{{ i }}x<tr><td></td></tr></table>{% endfor %}",
            "a.html line 2: near this line, 'x' would",
        ),
        (
            "<html><body>a</body>\n{% if name %}<p>b</p>{% endif %}</html>",
            "a.html line 2: near this line, '<p>' would",
        ),
        ("<html>\n{{ name }}<body></body></html>", "a.html line 2: a value stands in <head> or <body>"),
        ("<html><body></body>\n{{ name }}</html>", "a.html line 2: a value stands in <head> or <body>"),
        ("<p>a\n<b><i></b></i>", "a.html line 2: <i> has no end."),
        ("<p>\n</b>", "a.html line 2: </b> ends what has not begun."),
        ('\n<p title="', "a.html line 2: this is no whole tag"),
        ("\n<!-- ", "a.html line 2: what begins here has no end."),
        ("<head></head>x", "a.html: a page that has <html> or <head> has a <body>, too; write it."),
        ("<style>p{color:}}}{ @x</style><p style='a'>x</p>", "a.html: its CSS cannot be read"),
        (
            "<html><head>\n<link rel='stylesheet' href='x.css'></head><body>a</body></html>",
            "a.html line 2: mail programs load no style sheet: put what is in it between <style> and </style>",
        ),
        (
            "<style>p{a:" + "b" * 7_000 + "}</style>" + "<p>x</p>" * 1_000,
            "a.html: its styles, moved into their elements, could make more than 2000000 characters",
        ),
        (
            "<style>p{" + ";".join(f"p{n}:url(a;b:{'c' * 700})" for n in range(9)) + "}</style>" + "<p>x</p>" * 999,
            "a.html: its styles, moved into their elements, could make more than 2000000 characters",
        ),
        (
            "<style>p{" + "a:red;" * 6_000 + "}</style>" + "<p>x</p>" * 1_000,
            "a.html: its styles, moved into their elements, could take too long",
        ),
        ("<style>" + ",p" * 10_000 + "{a:b}</style>" + "<p>x</p>" * 1_000, "a.html: its styles, moved into"),
        (
            "<style>tbody{" + "a:" + "b" * 36_000 + "}</style>" + "<table><tr></tr></table>" * 99,
            "a.html: its styles, moved into",
        ),
        ("<style>\\70{" + "a:" + "b" * 36_000 + "}</style>" + "<p>x</p>" * 99, "a.html: its styles, moved into"),
        ("<style>a{b{}" + "a:" + "b" * 36_000 + "}</style>" + "<a>x</a>" * 99, "a.html: its styles, moved into"),
        (
            '<style>p{a:"}";' + "a:" + "b" * 36_000 + "}</style>" + "<p>x</p>" * 99,
            "a.html: its styles, moved into",
        ),
        (
            "<style>/*'*/@layer{.a{" + "a:" + "b" * 36_000 + "}}/*'*/</style>" + "<p class='&#97;'>x</p>" * 99,
            "a.html: its styles, moved into",
        ),
        (
            "<style>p{" + "".join(f"p{n}:red;" for n in range(301)) + "}</style><p>x</p>",
            "a.html: its styles set more than 300 different properties",
        ),
        (
            "<p>{{ name" + "~name" * 20_000 + " }}</p>",
            "a.html line 1: with all that it includes, a template has at most 500000 characters, 5000 tags and texts",
        ),
        (("{{ name" + "~name" * 3_000 + " }}") * 4, "a.html line 1: with all that it includes, a template has at most"),
        ("{{ name }}" * 5_001, "a.html line 1: with all that it includes, a template has at most"),
        (
            "<style>" + "@layer a{" * 40_000 + "}</style>x",
            "a.html: blocks of its styles are at most 20 deep in each other",
        ),
        ("<p>\n&#" + "9" * 5_000 + ";</p>", "a.html line 2: this is the number of no character."),
        ("<p>\n{{ ('&#' ~ '9' * 5000)|safe }}</p>", "a.html line 2: Exceeds the limit"),
        ("<a href='{{ 1 }}&#" + "9" * 900 + "{{ '9' * 5000 }};{{ 1 }}'>x</a>", "a.html line 1: Exceeds the limit"),
        ("\n{{ [1].index(name) }}", "a.html line 2: "),
        ("\n{{ '{:,}'.format(1) }}", "a.html line 2: format cannot be called; use a filter"),
        ("\n{{ nmae() }}", "a.html line 2: 'nmae' is undefined"),
        ("\n{{ {'a': 1}[name] }}", "a.html line 2: 'dict object' has no attribute '…'."),
        ("\n{{ none[name] }}", "a.html line 2: 'None' has no attribute '…'."),
        ("\n{{ 1 + name }}", "a.html line 2: unsupported operand type(s) for +: 'int' and 'str'."),
        ("<iframe src='x'></iframe>", "a.html line 1: no mail shows <iframe>."),
        ("<div>" * 3_000, "a.html line 1: elements are at most 200 deep"),
        ("{{ " + "(" * 3_000 + "1" + ")" * 3_000 + " }}", "a.html: its tags are too deep in each other"),
        ("{{ 1" + " + 1" * 3_000 + " }}", "a.html line 1: it is too deep inside itself"),
        ("{% for i in [1] %}" * 60 + "{% endfor %}" * 60, "a.html line 1: its tags are too deep in each other"),
        (
            "{% include 'd.html' %}" * 300,
            "e.html line 1: with all that it includes, a template has at most 500000 characters",
        ),
        ("x" * 10_000_000, "a.html has more than 500000 bytes"),
        (b"\x89PNG\xff\xfe", "a.html is no text in UTF-8: see its byte 0."),
        ("a\0b", "a.html is no text: it holds NUL."),
        (
            "{% for i in range(9000) %}" + "x" * 300 + "{% endfor %}",
            "a.html line 1: it makes more than 2000000 characters.",
        ),
    ],
    ids=range(72),
)
def test_what_is_wrong_with_a_template_is_one_sentence_with_its_file_and_line(tmp_path, source, words):
    found = templates(
        tmp_path, a_html=source, b_html="{% extends 'a.html' %}", d_html="{% include 'e.html' %}" * 300, e_html=""
    )
    with pytest.raises(PermanentError) as error:
        found.render("a", {"name": "planted"})
    assert str(error.value).startswith(words.rstrip("."))
    assert str(error.value).count(words) == 1
    assert "\n" not in str(error.value)
    assert "planted" not in str(error.value), "a context is not told"


@pytest.mark.parametrize(
    ("inside", "words"),
    [
        ("<mj-foo>x</mj-foo>", "a.mjml line 2: MJML has no <mj-foo> here."),
        ("<mj-text>\n<b>x</mj-text>", "a.mjml line 3: <b> has no end."),
        ("\n<mj-include path='x'/>", "a.mjml line 3: mj-include is not for templates: use {% include %}."),
        ("\n<mj-image width='{{ 100 }}' src='a'/>", "a.mjml line 3: a template's tag that stands here is left out"),
        ("\n<mj-text unknown='{{ 1 }}'>a</mj-text>", "a.mjml line 3: a template's tag that stands here is left out"),
        ("<mj-raw>" + "<div>" * 3_000 + "</div>" * 3_000 + "</mj-raw>", "a.mjml line 2: elements are at most 200 deep"),
        ("<mj-text>" + "<div/>" * 3_000 + "</mj-text>", ""),
        (
            "{% for i in [1, 2] %}<mj-raw><p>a</p></mj-raw>{% endfor %}",
            "a.mjml line 2: near this line, '<p>' would be moved",
        ),
        ("<mj-text>a</mj-text>" * 20_000, "a.mjml: MJML makes more than 2000000 characters of it"),
        (
            "\n<mj-social color='" + "r" * 9_000 + "'>" + "<mj-social-element />" * 900 + "</mj-social>",
            "a.mjml line 3: attributes that many elements have from elsewhere (<mj-attributes>, <mj-social>, …) could",
        ),
        (
            "<mj-social color='{{ 1"
            + "+1" * 500
            + " }}'>"
            + "<mj-social-element>a</mj-social-element>" * 30
            + "</mj-social>",
            "a.mjml line 2: with all that it includes, a template has at most 500000 characters",
        ),
        ("<mj-text>{{ 1 }}\n{{ undefined }}</mj-text>", "a.mjml line 3: 'undefined' is undefined"),
    ],
)
def test_what_mjml_would_leave_out_in_silence_is_said(tmp_path, inside, words):
    found = templates(tmp_path, a_mjml=COLUMN % inside)
    if not words:
        assert found.render("a", {}).html
        return
    with pytest.raises(PermanentError, match=re.escape(words)):
        found.render("a", {})


def test_blocks_that_are_inside_each_other_by_super_have_an_end(tmp_path):
    found = templates(
        tmp_path,
        a_html="{% extends 'b.html' %}{% block a %}{% block b %}{{ super() }}{% endblock %}{% endblock %}",
        b_html="{% block b %}{% block a %}{% endblock %}{% endblock %}",
    )
    with pytest.raises(PermanentError, match=r"^a\.html: the block [ab] is inside itself, or too deep in others\.$"):
        found.render("a", {})


def test_an_error_in_an_included_file_names_that_file(tmp_path):
    found = templates(tmp_path, a_mjml=COLUMN % "{% include 'b.mjml' %}", b_mjml="<mj-text>\n\n{{ 1 / 0 }}</mj-text>")
    with pytest.raises(PermanentError, match=r"^b\.mjml line 3: division by zero\.$"):
        found.render("a", {})


@pytest.mark.parametrize(
    "name", ["../../x", "/etc/passwd", "a.html", "", ".", "a/", "a//b", "a\0", "ä", "x" * 300, "a\n"]
)
def test_a_name_leads_nowhere_else(tmp_path, name):
    with pytest.raises(PermanentError, match="The name of a template must be a name such as welcome"):
        templates(tmp_path / "folder", a_html="a").render(name, {})


def test_a_link_does_not_lead_out_of_the_folder(tmp_path):
    write(tmp_path, "secret.html", "secret")
    found = templates(tmp_path / "folder", b_html="b")
    (tmp_path / "folder/a.html").symlink_to(tmp_path / "secret.html")
    (tmp_path / "folder/c.html").symlink_to(tmp_path / "folder/b.html")
    with pytest.raises(PermanentError, match=r"a\.html leads out of the folder"):
        found.render("a", {})
    assert body_of(found.render("c", {}).html) == "b"


def test_a_template_that_is_not_there_names_the_folder_and_what_was_looked_for(tmp_path):
    with pytest.raises(PermanentError) as error:
        Templates(tmp_path / "nowhere").render("welcome", {})
    assert f"no template 'welcome' in {tmp_path / 'nowhere'} (EMAIL_TEMPLATES_DIR)" in str(error.value)
    assert "none of welcome.mjml, welcome.html and welcome.txt" in str(error.value)


def test_two_pages_of_one_name_are_refused(tmp_path):
    with pytest.raises(PermanentError, match=r"both a\.mjml and a\.html"):
        templates(tmp_path, a_html="a", a_mjml="a").render("a", {})


def test_a_folder_in_place_of_a_file_is_said_and_one_that_cannot_be_read_now_is_tried_again(tmp_path, monkeypatch):
    (tmp_path / "a.html").mkdir()
    with pytest.raises(PermanentError, match=r"a\.html is no file in"):
        Templates(tmp_path).render("a", {})
    found = templates(tmp_path, b_html="b")
    monkeypatch.setattr("pathlib.Path.open", lambda *_: (_ for _ in ()).throw(OSError(5, "Input/output error")))
    with pytest.raises(TransientError, match=r"b\.html cannot be read now: Input/output error"):
        found.render("b", {})
    monkeypatch.undo()
    assert body_of(found.render("b", {}).html) == "b"


@pytest.mark.parametrize("source", ["{{ " + "9" * 4_301 + " }}", "{{ 1e999 }}", r"<p>{{ '\udc00' }}</p>"])
def test_what_python_alone_refuses_is_a_permanent_error_of_its_file_and_line(tmp_path, source):
    with pytest.raises(PermanentError, match=r"a\.html line 1"):
        templates(tmp_path, a_html=source).render("a", {})


def test_all_templates_of_a_folder_are_checked_and_parts_only_where_they_are_used(tmp_path):
    templates(
        tmp_path,
        base_mjml="<mjml><mj-body>{% block body %}{% endblock %}</mj-body></mjml>",
        parts__foot_mjml="<mj-section></mj-section>",
        a_mjml="{% extends 'base.mjml' %}{% block body %}{% include 'parts/foot.mjml' %}{% endblock %}",
        a_txt="a",
        deep__b_html="<p>{{ x }}",
        deep__c_html="\n{{ x",
        d_txt="d",
        e_md="{{",
    )
    write(tmp_path, "d.subject.txt", "{% if %}")
    write(tmp_path, ".hidden/f.html", "<b>")
    write(tmp_path, "no name.html", "<b>")
    number, faults = email_templates.checked(tmp_path)
    assert number == 6
    assert [fault.partition(":")[0] for fault in faults] == ["d.subject.txt line 1", "deep/c.html line 2"]


def test_a_folder_that_is_none_or_is_no_folder_of_templates_alone_is_said(tmp_path, monkeypatch):
    with pytest.raises(PermanentError, match=f"{tmp_path}/a is no folder: make it"):
        email_templates.checked(tmp_path / "a")
    monkeypatch.setattr(email_template_files, "MOST_FILES", 2)
    templates(tmp_path, a_html="a", b_html="b", c_html="c")
    with pytest.raises(PermanentError, match="has more than 2 files and folders"):
        email_templates.checked(tmp_path)


def test_a_folder_that_cannot_be_read_is_said(tmp_path, monkeypatch):
    refused = PermissionError(13, "Permission denied", str(tmp_path))
    monkeypatch.setattr("pathlib.Path.iterdir", lambda *_: (_ for _ in ()).throw(refused))
    with pytest.raises(OSError, match="Permission denied"):
        email_templates.checked(tmp_path)


# --- For every page and every value ----------------------------------------------------------------------------

VALUES = st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
NAMES = st.sampled_from(["v", "w", "rows|length"])
PRINTED = NAMES.map(lambda name: "{{ " + name + " }}")
WORDS = st.sampled_from(["word", "a &amp; b", "x &lt; y", "é", " "])


def nodes(element, more):
    """Pieces of a page: text, values, elements, conditions and loops, inside each other."""

    def grown(inner):
        inside = st.lists(inner, max_size=4).map("".join)
        return st.one_of(
            st.builds(element, inside, PRINTED, NAMES),
            st.builds("{{% if {0} %}}{1}{{% else %}}{2}{{% endif %}}".format, NAMES, inside, inside),
            st.builds("{{% for one in rows %}}{0}{{{{ one }}}}{{% endfor %}}".format, inside),
        )

    return st.recursive(st.one_of(WORDS, PRINTED, *more), grown, max_leaves=12)


def element(inside, value, name):
    condition = "{% if " + name + " %}x{% endif %}"
    return f'<div class="big" title="a {value} {condition}" style="width: {{{{ n }}}}px">{inside}</div>'


def plain(source, context) -> str:
    """What Jinja alone makes of a template."""
    return Environment(autoescape=True).from_string(source).render(context)


@settings(max_examples=60, deadline=None)
@given(page=nodes(element, []), v=VALUES, w=VALUES, n=st.integers(0, 99), rows=st.lists(VALUES, max_size=3))
def test_a_page_made_first_and_filled_then_is_the_page_filled_first_and_made_then(
    tmp_path_factory, page, v, w, n, rows
):
    folder = tmp_path_factory.mktemp("templates")
    source = f"<html><head><style>.big {{ color: red }}</style></head><body><div>{page}</div></body></html>"
    context = {"v": v, "w": w, "n": n, "rows": rows}
    made = templates(folder, a_html=source).render("a", context)
    assert tidy(made.html) == tidy(INLINER.inline(plain(source, context)))
    assert made.text.split() == text_of(made.html).split()
    shutil.rmtree(folder)


class _Read(HTMLParser):
    """What a reader of a page sees, whichever way its characters are written."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.seen: list[object] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, attrs))

    def handle_endtag(self, tag):
        self.seen.append(tag)

    def handle_data(self, data):
        if self.seen and isinstance(self.seen[-1], list):
            self.seen[-1].append(data)
        else:
            self.seen.append([data])


def tidy(html: str) -> list[object]:
    """A page without the ways to write the same character."""
    return ["".join(one) if isinstance(one, list) else one for one in _Read(html).seen]


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.sampled_from(["{{ v }}", "<b>{{ w }}</b>", "a", "{% if v %}x{% endif %}"]), max_size=4), v=VALUES
)
def test_mjml_made_first_and_filled_then_is_mjml_filled_first_and_made_then(tmp_path_factory, texts, v):
    folder = tmp_path_factory.mktemp("templates")
    source = (
        "<mjml><mj-body>{% for i in rows %}<mj-section><mj-column>"
        + "".join(
            f'<mj-text>{one}</mj-text>{{% if i %}}<mj-button href="{{{{ i }}}}">{one}</mj-button>{{% endif %}}'
            for one in texts
        )
        + "</mj-column></mj-section>{% endfor %}</mj-body></mjml>"
    )
    context = {"v": escape(v.strip()), "w": "1 2", "rows": [1, 0, 2]}
    made = templates(folder, a_mjml=source).render("a", context)
    compiled = mrml.to_html(plain(source, context), None, mrml.RenderOptions(fonts={})).content
    assert tidy(made.html) == tidy(INLINER.inline(compiled))
    shutil.rmtree(folder)


SCRAPS = (
    "<p> </p> <div> </div> <br/> <table> <tr> <td> </table> <b > < \" ' <!-- --> <!--[if_mso]> <![endif]--> <title> "
    "</title> <style>p{a:b} </style> <mjml> <mj-body> </mj-body> </mjml> <mj-section> <mj-column> <mj-text> {{v}} {{ "
    "</mj-text> }} {% %} {%if_v%} {%else%} {%endif%} {%for_i_in_rows%} {%endfor%} {%block_a%} {%endblock%} {%raw%} {# "
    "{%endraw%} #} {%extends_'b.html'%} {{super()}} {%set_x=1%} {%set_x%} {%endset%} {%macro_m()%} {%endmacro%} a é & "
    "{{m()}} zqjs0z {%include_'b.html'%} <a_href=' <svg> <path/> </svg> { } \\ <html> <body> _ \n"
)


@settings(max_examples=60, deadline=None)
@given(
    source=st.lists(st.sampled_from(SCRAPS.split(" ")), max_size=14).map(lambda some: "".join(some).replace("_", " ")),
    ending=st.sampled_from(["html", "mjml", "txt"]),
)
def test_whatever_a_template_is_it_makes_a_mail_or_one_sentence(tmp_path_factory, source, ending):
    folder = tmp_path_factory.mktemp("templates")
    write(folder, f"a.{ending}", source)
    found = templates(folder, b_html="<p>{% block a %}b{% endblock %}</p>")
    try:
        assert found.render("a", {"v": "<v>", "rows": [1, 2]}).text is not None
    except PermanentError as error:
        sentence = str(error)
        assert (sentence.startswith(("a.", "b.html")), "\n" in sentence) == (True, False)
    shutil.rmtree(folder)


@settings(max_examples=60, deadline=None)
@given(value=st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_no_value_of_a_context_becomes_a_tag(tmp_path_factory, value):
    folder = tmp_path_factory.mktemp("templates")
    found = templates(folder, a_html="<p title='{{ v }}'>{{ v }}</p><!-- {{ v }} -->")
    with suppress(PermanentError):  # a list cannot be printed, and a number may be too large
        page = body_of(found.render("a", {"v": value}).html)
        assert re.fullmatch(r'<p title="[^"<>]*">[^<>]*</p><!-- [^<>]* -->', page, re.DOTALL)
    shutil.rmtree(folder)


def test_a_newsletter_whose_many_rules_set_the_same_properties_again_is_made(tmp_path):
    say = "color:#656565;font-family:Helvetica,Arial,sans-serif;font-size:16px;line-height:150%;text-align:left"
    rules = "".join(f"#s{number % 5} .text,#s{number % 5} p{{{say};padding:{number}px}}" for number in range(200))
    block = "<table><tr><td class='text'><p>a <a href='https://e.com'>b</a></p><p>c</p></td></tr></table>" * 20
    body = "".join(f"<div id='s{number}'>{block}</div>" for number in range(5))

    found = templates(tmp_path, a_html=f"<html><head><style>{rules}</style></head><body>{body}</body></html>")

    html = found.render("a", {}).html
    assert html is not None
    assert html.count("padding: 195px;") == 60
