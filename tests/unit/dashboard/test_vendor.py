"""What comes along from others is what they published, with their licences."""

import hashlib
import json

from dashboard.rendering import HERE

VENDOR = HERE / "static" / "vendor"
LISTED = json.loads((VENDOR / "vendor.json").read_text())


def test_every_file_is_listed_and_has_the_hash_that_the_list_says():
    there = {path.relative_to(VENDOR).as_posix() for path in VENDOR.rglob("*") if path.is_file()} - {"vendor.json"}
    listed = {file["name"]: file["sha256"] for package in LISTED for file in package["files"]}
    assert there == set(listed)
    for name, digest in listed.items():
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest, name


def test_every_package_says_its_version_its_origin_and_its_licence():
    assert {package["name"] for package in LISTED} == {"htmx.org", "htmx-ext-sse", "uplot"}
    for package in LISTED:
        assert package["origin"] == f"https://www.npmjs.com/package/{package['name']}/v/{package['version']}"
        assert package["integrity"].startswith("sha512-")
        licence = next(file for file in package["files"] if file["name"].startswith("licences/"))
        assert len((VENDOR / licence["name"]).read_text()) > 300
        assert package["licence"] in {"0BSD", "MIT"}
    assert next(one for one in LISTED if one["name"] == "htmx.org")["version"].startswith("2.")


def test_nothing_that_comes_along_is_loaded_from_elsewhere():
    for path in (HERE / "templates").glob("*.html"):
        assert "://" not in path.read_text(), path
    for path in (HERE / "static").glob("*"):
        if path.suffix in {".css", ".js"}:
            text = path.read_text()
            assert "://" not in text, path
            assert "innerHTML" not in text, path
            assert "eval(" not in text, path
