"""The rules of the house: every module says what it is, every public name says what it means, floors hold."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest
from numpydoc.docscrape import ClassDoc, FunctionDoc

import kexue
from kexue.runs.catalogue import load_catalogue
from kexue.studies import built, load_study

SOURCE = Path(kexue.__file__).parent
MODULES = sorted(path for path in SOURCE.rglob("*.py") if "templates" not in path.parts)
# Rooms of parts, which people take home: their docstrings have sources and examples.
PARTS = (
    "probability",
    "relaxation",
    "estimators",
    "nn",
    "optim",
    "metrics",
    "generative",
    "words",
    "language",
    "interpret",
    "decoding",
    "attention",
)


def name_of(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def public_names():
    """Every public function and class with the module that defines it, and public methods of the classes."""
    for path in MODULES:
        if path.name == "__main__.py":
            continue
        module = importlib.import_module(name_of(path))
        for name in module.__all__:
            value = getattr(module, name)
            if getattr(value, "__module__", None) != module.__name__ or not callable(value):
                continue
            yield f"{module.__name__}.{name}", value
            if inspect.isclass(value) and not issubclass(value, Exception):
                for method_name, method in vars(value).items():
                    if not method_name.startswith("_") and inspect.isfunction(method):
                        yield f"{module.__name__}.{name}.{method_name}", method


PUBLIC = dict(public_names())


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_says_what_it_is(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstring = ast.get_docstring(tree)
    assert docstring, "no docstring"
    assert "\n" not in docstring, "the docstring has more than one line"
    assert docstring[-1] in ".!?:", docstring
    definitions = [number for number, node in enumerate(tree.body) if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    exports = [
        number
        for number, node in enumerate(tree.body)
        if isinstance(node, ast.Assign | ast.AnnAssign) and "__all__" in ast.unparse(node).split("=")[0]
    ]
    assert exports, "no __all__"
    assert not definitions or exports[0] < definitions[0], "__all__ comes after a definition"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_file_is_one_idea(path):
    assert path.stem not in {"utils", "helpers", "common", "misc", "base"}
    text = path.read_text(encoding="utf-8")
    documented = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            documented.update(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    with path.open("rb") as file:
        code = {
            line
            for token in tokenize.tokenize(file.readline)
            if token.type not in (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENCODING)
            for line in range(token.start[0], token.end[0] + 1)
        }
    assert len(code - documented) <= 400, "more than 400 lines of code"


@pytest.mark.parametrize("path", [path for path in MODULES if path.name == "__init__.py"], ids=name_of)
def test_a_folder_only_re_exports(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if path.parent == SOURCE:
        return  # the package itself: its version, and rooms that are imported when they are asked for
    for node in tree.body[1:]:
        if isinstance(node, ast.Expr) and ast.unparse(node).startswith("require("):
            continue  # says in one line which extra is missing
        if isinstance(node, ast.FunctionDef) and node.name == "__getattr__":
            continue  # finds names in the modules when they are asked for
        assert isinstance(node, ast.Import | ast.ImportFrom | ast.Assign | ast.AnnAssign), ast.unparse(node)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_documented(name):
    value = PUBLIC[name]
    assert inspect.getdoc(value), "no docstring"
    if inspect.isclass(value):
        if issubclass(value, Exception):
            return
        document = ClassDoc(value, config={"show_class_members": False})
        plain = not dataclasses.is_dataclass(value) and not getattr(value, "_is_protocol", False)
        function = value.__init__ if "__init__" in vars(value) and plain else None
    else:
        document, function = FunctionDoc(value), value
    assert "".join(document["Summary"]).strip()
    if function is not None:
        signature = inspect.signature(function)
        expected = [
            f"{'*' * {p.VAR_POSITIONAL: 1, p.VAR_KEYWORD: 2}.get(p.kind, 0)}{p.name}"
            for p in signature.parameters.values()
            if p.name != "self"
        ]
        described = [one.strip() for p in document["Parameters"] for one in p.name.split(",")]
        assert described == expected, "Parameters"
        assert all("".join(p.desc).strip() for p in document["Parameters"]), "a parameter without a meaning"
        returns = signature.return_annotation
        if function is value and returns not in ("None", None, "NoReturn", inspect.Signature.empty):
            assert document["Returns"] or document["Yields"], "Returns"
        raised = _raised(function)
        described = {one.strip() for entry in document["Raises"] for one in entry.type.split(",")}
        assert raised <= described, f"Raises lacks {raised - described}"
    holds_results = inspect.isclass(value) and (dataclasses.is_dataclass(value) or issubclass(value, tuple))
    if name.split(".")[1] in PARTS and name.count(".") == 3 and not holds_results:
        assert document["References"], "References"
        assert ">>>" in "".join(document["Examples"]), "Examples"


def _raised(function) -> set[str]:
    """Names of the exceptions that the function itself raises to its caller, in code of its own."""
    tree = ast.parse(inspect.cleandoc("\n" + inspect.getsource(function)))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name):
            found.add(node.exc.func.id)
    return {name for name in found if not name.startswith("_")}


def test_floors_hold():
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    outcome = subprocess.run(command, cwd=SOURCE.parents[1], capture_output=True, text=True, encoding="utf-8")
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "0 broken" in outcome.stdout


@pytest.mark.parametrize("name", built())
def test_a_study_has_its_form(name):
    _, module = load_study(name)
    assert {"quick", "standard"} <= set(module.PRESETS)
    assert all(type(config) is module.Config for config in module.PRESETS.values())
    assert module.Config.__dataclass_params__.frozen
    assert module.PRESETS["standard"].seeds >= 5
    lines = inspect.getsource(module.Config).splitlines()
    for field in dataclasses.fields(module.Config):
        at = next(number for number, line in enumerate(lines) if line.strip().startswith(f"{field.name}:"))
        assert lines[at + 1].strip().startswith('"""'), f"{field.name} is not explained"
    # The runner's own options must not be hidden by a field.
    from kexue.cli import Options

    assert not {field.name for field in dataclasses.fields(module.Config)} & {
        field.name for field in dataclasses.fields(Options)
    }


def test_studies_are_light_to_import():
    modules = [f"kexue.studies.{name.replace('-', '_')}" for name in built()]
    code = (
        f"import sys, {', '.join(modules)}; print([m for m in ('torch', 'sklearn', 'matplotlib') if m in sys.modules])"
    )
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=True)
    assert outcome.stdout.strip() == "[]"


@pytest.mark.parametrize("study", [s for s in load_catalogue().studies if s.name in built()], ids=lambda s: s.name)
def test_three_lines_are_three_and_run(study):
    lines = study.three_lines.strip().splitlines()
    assert 1 <= len(lines) <= 3
    exec(compile("\n".join(lines), study.name, "exec"), {})


@pytest.mark.parametrize("study", [s for s in load_catalogue().studies if s.name in built()], ids=lambda s: s.name)
def test_parts_of_built_studies_exist(study):
    catalogue = load_catalogue()
    for slug in study.articles:
        for part in catalogue.article(slug).parts:
            module, _, name = part.rpartition(".")
            path = SOURCE.joinpath(*module.split(".")[1:])
            if path.with_suffix(".py").exists() or path.is_dir():
                assert hasattr(importlib.import_module(module), name), part
