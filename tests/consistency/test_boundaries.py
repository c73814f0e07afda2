"""The boundaries of the design, read from the source without running it."""

import ast
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "vofp_plugin"
TREES = {
    path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(PACKAGE.rglob("*.py"))
}
ENTRY_POINTS = {"runs/runner.py", *(f for f in TREES if f.startswith("cli/"))}  # argv, prints
YAML_READER = "runs/configuration.py"
# From the roof down. A room imports itself and the rooms of the lines below, none beside it.
HOUSE = (
    ("cli", "runs"),
    ("evaluation",),
    ("inference", "augment"),
    ("tasks", "dataio"),
    ("lobes",),
    ("nnet",),
    ("utils",),
)
FLOOR = {room: floor for floor, rooms in enumerate(HOUSE) for room in rooms}
each_file = pytest.mark.parametrize("file", TREES)


def files_of(*rooms):
    return pytest.mark.parametrize("file", [f for f in TREES if f.partition("/")[0] in rooms])


def imports(file):
    """Full names of all modules that a file imports, inside functions too."""
    for node in ast.walk(TREES[file]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import"
            yield node.module


def own_imports(file):
    """Modules of the package that a file imports, without the package's name."""
    prefix = f"{PACKAGE.name}."
    return [name.removeprefix(prefix) for name in imports(file) if name.startswith(prefix)]


def used_names(file):
    """Names and dotted names that a file uses, such as `print` and `sys.argv`."""
    return {
        ast.unparse(node)
        for node in ast.walk(TREES[file])
        if isinstance(node, (ast.Name, ast.Attribute))
    }


def nodes(file, *kinds):
    return [node.lineno for node in ast.walk(TREES[file]) if isinstance(node, kinds)]


def public(tree):
    """Public classes, functions and methods of a module, with their qualified names."""
    for node in tree.body:
        if not isinstance(node, (ast.ClassDef, ast.FunctionDef)) or node.name.startswith("_"):
            continue
        yield node.name, node
        if isinstance(node, ast.ClassDef):
            yield from ((f"{node.name}.{name}", method) for name, method in public(node))


def test_tables_name_what_exists():
    assert ENTRY_POINTS | {YAML_READER} <= set(TREES)
    assert {file.partition("/")[0] for file in TREES} == {"__init__.py", *FLOOR}


@each_file
def test_no_import_runs_up_or_sideways(file):
    room = file.partition("/")[0]
    if room in FLOOR:  # the front door stands above all rooms
        imported = {name.partition(".")[0] for name in own_imports(file)}
        assert {x for x in imported - {room} if FLOOR[x] <= FLOOR[room]} == set()


def test_files_do_not_import_each_other_in_a_circle():
    graph = {file: {f"{n.replace('.', '/')}.py" for n in own_imports(file)} for file in TREES}
    assert list(TopologicalSorter(graph).static_order())


@files_of("nnet")
def test_nnet_needs_torch_alone(file):
    roots = {name.partition(".")[0] for name in imports(file)} - {PACKAGE.name, "torch"}
    assert roots <= sys.stdlib_module_names


@files_of("lobes")
def test_lobes_need_torch_and_speechbrain_alone(file):
    roots = {name.partition(".")[0] for name in imports(file)}
    assert roots - {PACKAGE.name, "torch", "speechbrain"} <= sys.stdlib_module_names


@each_file
def test_only_entry_points_print_and_read_argv(file):
    if file not in ENTRY_POINTS:
        assert not used_names(file) & {"print", "sys.argv", "sys.stdout", "sys.stderr", "input"}
        assert "argparse" not in imports(file)


@each_file
def test_only_one_file_reads_yaml(file):
    roots = {name.partition(".")[0] for name in imports(file)}
    assert file == YAML_READER or not roots & {"yaml", "ruamel", "hyperpyyaml"}


@each_file
def test_nothing_imports_recipes_or_tests(file):
    assert not {name.partition(".")[0] for name in imports(file)} & {"recipes", "tests", "hparams"}


@each_file
def test_errors_are_raised_rather_than_asserted(file):
    assert nodes(file, ast.Assert) == []


@each_file
def test_no_global_state(file):
    assert nodes(file, ast.Global) == []


@each_file
def test_nothing_is_unpickled(file):
    assert not {name.partition(".")[0] for name in imports(file)} & {"pickle", "joblib", "dill"}
    keywords = {ast.unparse(node) for node in ast.walk(TREES[file]) if type(node) is ast.keyword}
    assert not keywords & {"allow_pickle=True", "weights_only=False"}


@each_file
def test_everything_public_has_a_docstring(file):
    assert ast.get_docstring(TREES[file]), "of the module"
    assert [name for name, node in public(TREES[file]) if not ast.get_docstring(node)] == []


@files_of("nnet", "lobes")
def test_every_public_class_and_function_of_the_networks_has_an_example(file):
    """Classes that others of the file extend are shown by those."""
    extended = {
        ast.unparse(base)
        for node in TREES[file].body
        if isinstance(node, ast.ClassDef)
        for base in node.bases
    }
    without = [
        name
        for name, node in public(TREES[file])
        if "." not in name and ">>> " not in ast.get_docstring(node) and name not in extended
    ]
    assert without == []
