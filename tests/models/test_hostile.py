"""Hostile files made from honest ones: whatever a file asks for, it does nothing but compute.

Each file is loaded and, where it loads, called on images. Beside it lie a canary file and a canary
of the environment; afterwards both are as they were and no other file is there.
"""

import copy
import io
import json
import os
import pickle
import re
import warnings
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from saliency_audit.errors import AuditError, InputError
from saliency_audit.models import load
from saliency_audit.models.operators import OPERATORS
from tests.models.test_load import export, rewritten

FEW = settings(
    max_examples=250,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
MANY = settings(FEW, max_examples=4000)


SEEN: Counter[str] = Counter()
"""Files by what became of them."""


class Seed(nn.Module):
    """Has what a file can hide something in: unused weights, constants, branches, lists, state."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.spare = nn.Parameter(torch.ones(2))
        self.register_buffer("shift", torch.zeros(4, 1, 1))
        self.head = nn.Linear(4, 5)
        self.names = ["a", "b"]

    def forward(self, images: Tensor) -> Tensor:
        maps = torch.relu(self.norm(self.conv(images))) + self.shift
        if maps.shape[2] > 2:
            maps = maps * 2.0
        return self.head(maps.mean((2, 3)))


class Restored(nn.Module):
    """Code of it runs while it is loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.ones(5, 3)

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3)) @ self.weight.t()

    @torch.jit.export
    def __getstate__(self):
        return (self.weight, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[Tensor, bool]) -> None:
        self.weight = state[0]
        self.training = state[1]


@pytest.fixture(scope="module")
def seeds(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("seeds")
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(Seed().eval()), folder / "scripted.pt")
        torch.jit.save(torch.jit.script(Restored().eval()), folder / "restored.pt")
    images = torch.rand(2, 3, 16, 16)
    batch = ({0: torch.export.Dim("batch")},)
    export(Seed().eval(), images, path=folder / "exported.pt2", dynamic_shapes=batch)
    torch.save(Seed().state_dict(), folder / "state.pth")
    return {path.stem: path for path in folder.iterdir()}


class Canary:
    """A folder that only the file under test could change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "canary.txt"
        self.file.write_text("alive")
        os.environ["CANARY"] = "alive"
        self.before = self.look()

    def look(self) -> object:
        files = {path.name: path.read_bytes() for path in self.folder.iterdir()}
        files.pop("hostile", None)
        environment = {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"}
        return files, environment, os.getcwd(), torch.get_num_threads()

    def survives(self, path: Path, **options) -> str:
        """Load the file and call what it holds.

        Returns:
            "refused" or "loaded".
        """
        drawn = torch.get_rng_state()
        try:
            model = load(str(path), size=16, **options)
            with torch.no_grad():
                model(torch.rand(2, *model.input_shape, generator=torch.Generator()))
        except AuditError as error:
            result = "refused in two lines" if "\n" in str(error) else "refused"
        except Exception:  # its arithmetic may fail when it is called
            result = "loaded"
        else:
            result = "loaded"
        assert self.look() == self.before
        # Only a network that is built here, around a state dict, draws first weights.
        assert options or torch.equal(drawn, torch.get_rng_state())
        assert result in ("loaded", "refused")
        SEEN[result] += 1
        return result


@pytest.fixture
def canary(tmp_path, monkeypatch) -> Canary:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CANARY", "alive")
    return Canary(tmp_path)


CODE = "__import__('os').system('touch ran')"
NAMES = [
    f"p_zz={CODE}",
    f'a"); {CODE} #',
    f"a\n{CODE}",
    f"a', {CODE})",
    f"lambda x={CODE}: x",
    CODE,
    f'x")\r{CODE}\rdef forward(*a):\r    0#(',
    "__import__",
    "a b",
    "import os",
    "a;b",
    "ß=1",
    "x" * 100_000,
    "",
]
TARGETS = [
    "torch.os.system",
    "torch.save",
    "torch.ops.aten.from_file.default",
    "torch.ops.aten.save.default",
    "torch.ops.image.write_file.default",
    "torch.ops.debugprims.load_tensor.default",
    "torch.ops.higher_order.wrap",
    "torch.ops.higher_order.cond",
    "torch.ops.load_library",
    "torch.ops.aten.set_.source_Storage",
    "torch.ops.aten.manual_seed.default",
    "torch.manual_seed",
    "torch.classes.load_library",
    "torch.hub.load",
    "torch.load",
    "torch.jit.load",
    "torch._C._jit_set_profiling_mode",
    "torch._export.serde.serialize.json.os.system",
    "_operator.attrgetter",
    "_operator.methodcaller",
    "_operator.call",
    "math.__loader__",
    "builtins.eval",
    "os.system",
    "#torch:os.system",
    "#higher_order:cond",
    "torch.ops.aten.add.Tensor",
    "torch.ops.aten.conv2d.__class__",
    "torch.ops.aten.__class__.mro",
    "torch.ops.prims.copy_to.default",
]
EXPRESSIONS = [
    CODE,
    f"Symbol({CODE!r})",
    "10**10**10",
    "Pow(10, Pow(10, 10))",
    "Pow(Integer(10), Integer(1000000000))",
    "LShift(Integer(1), Integer(1000000000))",
    "Float('1', 1000000000)",
    "Mul(" + ", ".join(["Integer(10**200)"] * 10) + ")",
    "(" * 5000 + "1" + ")" * 5000,
    "s0." + ".".join(["__class__"] * 3),
    "[].__class__",
    "Symbol('a', cls=open)",
    "Function('f')(1)",
    "lambda: 1",
    "2 if 1 else 3",
    "1e999",
]
TREES = [
    json.dumps([1, {"type": "collections.defaultdict", "children_spec": [],
                    "context": json.dumps({"default_factory_module": "antigravity",
                                           "default_factory_name": "x"})}]),
    json.dumps([1, {"type": "collections.namedtuple", "children_spec": [], "context": '"os.x"'}]),
    '[1, {"type": null, "context": null, "children_spec": [' * 3000,
]  # fmt: skip
NUMBERS = [-1, 2**62, 2**200, 10**4000, 1e308, True, None, [], {}, "Infinity"]
PAYLOADS = st.sampled_from([*NAMES, *TARGETS, *EXPRESSIONS, *TREES, *NUMBERS])


def _places(value, path=()):
    """Every place in nested JSON where something stands, and every key."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*path, key), "key"
            yield from _places(item, (*path, key))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from _places(item, (*path, position))
    else:
        yield path, "value"


def _changed(program, path, kind, payload):
    *above, last = path
    place = program
    for step in above:
        place = place[step]
    if kind == "key" and isinstance(payload, str):
        place[payload] = place.pop(last)
    else:
        place[last] = payload


RECORDS = (
    "models/model.json",
    "data/weights/model_weights_config.json",
    "data/constants/model_constants_config.json",
)


def _programs(seeds):
    with zipfile.ZipFile(seeds["exported"]) as archive:
        names = {n.partition("/")[2]: n for n in archive.namelist()}
        return {record: json.loads(archive.read(names[record])) for record in RECORDS}


def _with(seeds, record: str, content: bytes) -> Path:
    path = Path("hostile")
    return rewritten(
        seeds["exported"], path, lambda name, old: content if name.endswith(record) else old
    )


def exported_with_any_place_changed(seeds, canary, data) -> None:
    record = data.draw(st.sampled_from(RECORDS))
    program = copy.deepcopy(_programs(seeds)[record])
    places = list(_places(program))
    if not places:
        return
    for _ in range(data.draw(st.integers(1, 2))):
        path, kind = data.draw(st.sampled_from(places))
        try:
            _changed(program, path, kind, data.draw(PAYLOADS))
        except (KeyError, IndexError, TypeError):
            return
    canary.survives(_with(seeds, record, json.dumps(program).encode()))


def exported_with_any_identifier_renamed(seeds, canary, data) -> None:
    text = json.dumps(_programs(seeds)["models/model.json"])
    old = data.draw(st.sampled_from(sorted(set(re.findall(r'"([\w.]+)"', text)))))
    new = data.draw(st.sampled_from([*NAMES, *TARGETS]))
    # As a name of a tensor, and within the names of its weights and modules.
    changed = text.replace(json.dumps(old), json.dumps(new))
    if data.draw(st.booleans()):
        changed = changed.replace(f".{old}.", f".{json.dumps(new)[1:-1]}.")
    canary.survives(_with(seeds, "models/model.json", changed.encode()))


def exported_with_any_operator_anywhere(seeds, canary, data) -> None:
    program = copy.deepcopy(_programs(seeds)["models/model.json"])
    nodes = program["graph_module"]["graph"]["nodes"]
    node = data.draw(st.sampled_from(nodes))
    operator = data.draw(st.sampled_from(TARGETS))
    whole = copy.deepcopy(program["graph_module"]["graph"])
    argument = {
        "operator": {"as_operator": operator},
        "graph": {"as_graph": {"name": "g", "graph": whole}},
        "nested": {"as_string_to_argument": {"f": {"as_operator": operator}}},
        "object": {"as_custom_obj": {"name": "x", "class_fqn": "torch.classes.quantized.X"}},
    }[data.draw(st.sampled_from(["operator", "graph", "nested", "object"]))]  # fmt: skip
    if data.draw(st.booleans()):
        node["target"] = data.draw(st.sampled_from([*TARGETS, "torch.ops.higher_order.wrap"]))
    position = data.draw(st.integers(0, len(node["inputs"])))
    node["inputs"].insert(position, {"name": "f", "arg": argument, "kind": 1})
    node["metadata"][data.draw(st.sampled_from(["source_fn_stack", "custom", "from_node"]))] = (
        f"x,{operator}"
    )
    program["guards_code"] = data.draw(st.sampled_from([[], [CODE]]))
    canary.survives(_with(seeds, "models/model.json", json.dumps(program).encode()))


CALLS = [
    'torch.save(images, "ran")',
    'torch.save (images, "ran")',
    'torch . save(images, "ran")',
    'torch.save\\\n(images, "ran")',
    '(torch.save)(images, "ran")',
    'getattr(torch, "save")(images, "ran")',
    'getattr(torch, "sa" "ve")(images, "ran")',
    'getattr(torch, "\\163ave")(images, "ran")',
    'ops.aten.save(images, "ran")',
    '"ran".save(images)',
    'images.save("ran")',
    'torch.from_file("canary.txt", True, 5, dtype=0)',
    '"canary.txt".from_file(True, 5)',
    'ops.image.write_file("ran", images)',
    'ops.image.read_file("canary.txt")',
    'ops.debugprims.load_tensor("x", [1], [1])',
    "torch.manual_seed(3)",
    "torch.seed()",
    'print("ran")',
    'ops.prim.Print("ran")',
    'fork(torch.save, images, "ran")',
    "torch.set_(images, images)",
    "images.set_(images)",
    'torch.rpc.rpc_async("w", torch.save)',
    'ops.prim.rpc_sync("w", torch.save, (images, ))',
    "__torch__.torch.classes._nnapi.Compilation()",
    "__torch__.torch.classes.profiling._ScriptProfile().enable()",
    "ops.torch.load_library(images)",
    'eval("1")',
    'open("ran")',
    "__import__",
    'exec("1")',
    "(lambda x: x)(images)",
    "[torch.save for _ in range(1)][0](images, \"ran\")",
    "[torch.save][0](images, \"ran\")",
    "(torch.save if True else torch.save)(images, \"ran\")",
    "images.backward()",
    "await images",
    "(x := images)",
]  # fmt: skip
ALIASED = [
    '_99 = torch.save\n    {call} = _99(images, "ran")',
    'print = torch.save\n    {call} = print(images, "ran")',
    '_99 = __torch__.torch.nn.modules.conv.Conv2d\n    _99 = torch.save\n    _99(images, "ran")',
    'for _99 in [1]:\n      pass\n    _99(images, "ran")',
    'torch = images\n    torch.save("ran")',
    'self = "ran"\n    self.save(images)',
    'with torch.save(images, "ran"):\n      pass',
    'assert torch.save(images, "ran")',
    'return torch.save(images, "ran")',
    'del torch.save(images, "ran")',
    'images[torch.save(images, "ran")] = images',
    'x : torch.save(images, "ran") = images',
    'def f(x: Tensor=torch.save(images, "ran")) -> Tensor:\n      return x',
    'global torch\n    torch.save(images, "ran")',
    'import os\n    os.system("touch ran")',
    'try:\n      torch.save(images, "ran")\n    except:\n      pass',
    '# type: (Tensor) -> torch.save\n    torch.save(images, "ran")',
    'f"{{torch.save(images)}}"',
    'x = "\n    torch.save(images)"',
    "x = '''\n    torch.save(images)'''",
    'x = b"torch.save"; torch.save(images, "ran")',
]


def script_with_any_call_anywhere(seeds, canary, data) -> None:
    seed = data.draw(st.sampled_from(["scripted", "restored"]))
    with zipfile.ZipFile(seeds[seed]) as archive:
        codes = [name for name in archive.namelist() if name.endswith(".py")]
        target = data.draw(st.sampled_from(codes))
        lines = archive.read(target).decode().split("\n")
    starts = [i for i, line in enumerate(lines) if re.match(r"    (?! )\w", line)]
    where = data.draw(st.sampled_from(starts or [len(lines) - 1]))
    call = data.draw(st.sampled_from(CALLS))
    form = data.draw(
        st.sampled_from(["{call}", "_77 = {call}", "if True:\n      {call}\n    else:\n      pass"])
    )
    if data.draw(st.booleans()):
        form, call = data.draw(st.sampled_from(ALIASED)), "_98"
    # Of a method that has no images, something else that is there.
    text = form.format(call=call)
    if data.draw(st.booleans()):
        text = text.replace("images", "self.weight" if "conv" in target else "input")
    lines.insert(where, "    " + text)
    if data.draw(st.booleans()):
        lines[where] = data.draw(st.sampled_from(["\t", "\x0c", "\r", "\xa0", "  "])) + lines[where]
    content = "\n".join(lines).encode()
    path = rewritten(
        seeds[seed], Path("hostile"), lambda name, old: content if name == target else old
    )
    canary.survives(path)


class Ran:
    """Unpickling it calls something."""

    def __init__(self, function, *given) -> None:
        self.function, self.given = function, given

    def __reduce__(self):
        return self.function, self.given


OBJECTS = [
    Ran(os.system, "touch ran"),
    Ran(Path.touch, Path("ran")),
    Ran(exec, "open('ran', 'w')"),
    Ran(os.putenv, "CANARY", "dead"),
    Ran(bytearray, 10**11),
    Ran(torch.FloatTensor, 10**10),
    Ran(torch.UntypedStorage, 10**11),
    torch.eye(3).to_sparse(),
    torch.ones(2, dtype=torch.complex64),
    torch.ones(1).expand(2**40),
    torch.as_strided(torch.ones(4), (2, 2), (1, 1)),
    nn.Linear(2, 2),
    {"x": 1},
    "text",
]
CONTAINERS = [
    lambda x: [x],
    lambda x: (x, x),
    lambda x: {"state_dict": x},
    lambda x: {"model": {"weight": x}},
    lambda x: OrderedDict(weight=x),
    lambda x: {"weight": torch.ones(2), "more": x},
]


def checkpoint_with_any_object(seeds, canary, data) -> None:
    content = data.draw(st.sampled_from(OBJECTS))
    for wrap in data.draw(st.lists(st.sampled_from(CONTAINERS), max_size=4)):
        content = wrap(content)
    path = Path("hostile")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if data.draw(st.booleans()):
            torch.save(content, path, _use_new_zipfile_serialization=data.draw(st.booleans()))
        else:
            buffer = io.BytesIO()
            pickle.dump(content, buffer, protocol=data.draw(st.integers(2, 5)))
            inner = buffer.getvalue()
            seed = data.draw(st.sampled_from(["scripted", "exported", "state"]))
            names = zipfile.ZipFile(seeds[seed]).namelist()
            target = data.draw(st.sampled_from(names))
            rewritten(seeds[seed], path, lambda name, old: inner if name == target else old)
    canary.survives(path, arch=data.draw(st.sampled_from([None, "torchvision:squeezenet1_1"])))


KINDS = [
    exported_with_any_place_changed,
    exported_with_any_identifier_renamed,
    exported_with_any_operator_anywhere,
    script_with_any_call_anywhere,
    checkpoint_with_any_object,
]


@pytest.mark.parametrize("make", KINDS)
def test_no_hostile_file_does_anything(make, seeds, canary):
    FEW(given(data=st.data())(lambda data: make(seeds, canary, data)))()


@pytest.mark.slow
@pytest.mark.parametrize("make", KINDS)
def test_thousands_of_hostile_files_do_nothing(make, seeds, canary):
    SEEN.clear()
    MANY(given(data=st.data())(lambda data: make(seeds, canary, data)))()
    # Most would do something; a change of a number that is none of the above may load.
    assert SEEN["refused"] > 1000


def test_the_files_that_the_hostile_ones_are_made_of_load(seeds, canary):
    for name in ("exported", "scripted", "restored"):
        assert canary.survives(seeds[name]) == "loaded"


def in_model(seeds, edit) -> Path:
    program = _programs(seeds)["models/model.json"]
    edit(program)
    return _with(seeds, "models/model.json", json.dumps(program).encode())


def refused(canary, path: Path, words: str, **options) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        load(str(path), size=16, **options)
    assert canary.look() == canary.before


def test_the_name_of_an_input_is_a_name(seeds, canary):
    # It became the default of an argument in generated source, which was evaluated.
    def edit(program) -> None:
        text = json.dumps(program).replace('"p_spare"', json.dumps(NAMES[0]))
        program.clear()
        program.update(json.loads(text))

    refused(canary, in_model(seeds, edit), "calls a value 'p_zz=__import__")


def test_the_name_of_a_layer_cannot_end_the_text_it_is_quoted_in(seeds, canary):
    # torch prints getattr(self, "NAME") and indents the source at line feeds alone.
    def edit(program) -> None:
        name = f'x")\r{CODE}\rdef forward(*a):\r    0#('
        text = json.dumps(program).replace("conv.", f"{json.dumps(name)[1:-1]}.")
        text = text.replace('"fqn": "conv"', f'"fqn": {json.dumps(name)}')
        text = text.replace(",conv,", f",{json.dumps(name)[1:-1]},")
        program.clear()
        program.update(json.loads(text))

    path = in_model(seeds, edit)
    assert canary.survives(path) == "refused"


@pytest.mark.parametrize("operator", ["torch.ops.aten.from_file.default", "torch.os.system"])
def test_an_operator_in_an_argument_is_an_operator(operator, seeds, canary):
    def edit(program) -> None:
        node = program["graph_module"]["graph"]["nodes"][0]
        node["target"] = "torch.ops.higher_order.cond"
        node["inputs"].insert(0, {"name": "", "arg": {"as_operator": operator}, "kind": 1})

    refused(canary, in_model(seeds, edit), f"calls '{operator}'")


def test_code_that_runs_while_loading_is_vetted_before(seeds, canary):
    def edit(name: str, old: bytes) -> bytes:
        first = b"    self.weight = "
        call = b'    torch.save([1], "ran")\n'
        return old.replace(first, call + first) if name.endswith(".py") else old

    path = rewritten(seeds["restored"], Path("hostile"), edit)
    with zipfile.ZipFile(path) as archive:
        assert any(b"torch.save" in archive.read(name) for name in archive.namelist())
    refused(canary, path, "calls 'torch.save'")


def test_gradients_that_a_program_turns_off_are_on_again(tmp_path):
    class Off(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            torch.set_grad_enabled(False)
            return images.mean((2, 3))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(Off()), tmp_path / "off.pt")
    model = load(str(tmp_path / "off.pt"), size=16)
    assert not model(torch.rand(1, 3, 16, 16, requires_grad=True)).requires_grad
    assert torch.is_grad_enabled()


def test_every_listed_operator_computes():
    known = {tuple(s.name.split("::")): s for s in torch._C._jit_get_all_schemas()}
    for namespace in ("aten", "quantized", "torchvision"):
        for name in OPERATORS[namespace]:
            schema = known.get((namespace, name))
            if schema is not None:
                said = [a.name for a in schema.arguments if str(a.type) == "str"]
                assert not {"filename", "file", "path", "group_name"} & set(said), name
    never = (
        "save from_file load_tensor manual_seed seed set_ backward Print rpc_async set_data fork"
    )
    for name in never.split():
        assert not any(name in names for names in OPERATORS.values())


def test_sizes_are_those_of_the_bytes_that_are_there(seeds, canary):
    config = _programs(seeds)[RECORDS[1]]
    entry = next(iter(config["config"].values()))
    entry["tensor_meta"]["sizes"][0]["as_int"] = 10**9
    path = _with(seeds, RECORDS[1], json.dumps(config).encode())
    refused(canary, path, "declares spare of 1000000000")

    torch.save({"head.weight": torch.ones(1, 512).expand(10**9, 512)}, "hostile")
    refused(canary, Path("hostile"), "2048000000000 bytes, and holds 2048 bytes")

    class Large:
        def __reduce__(self):
            storage = torch.ones(4).untyped_storage()
            typed = torch.storage.TypedStorage(
                wrap_storage=storage, dtype=torch.float32, _internal=True
            )
            return torch._utils._rebuild_tensor_v2, (
                typed,
                0,
                (10**10,),
                (1,),
                False,
                OrderedDict(),
            )

    for zipped in (True, False):
        torch.save({"w": Large()}, "hostile", _use_new_zipfile_serialization=zipped)
        refused(canary, Path("hostile"), "40000000000 bytes, and holds 16 bytes")


def test_only_plain_dense_real_numbers_are_weights(canary):
    for tensor, words in (
        (torch.eye(3).to_sparse(), "no plain dense one (rebuild_sparse_tensor)"),
        (torch.ones(2, dtype=torch.complex64), "complex64"),
        (torch.empty(3, device="meta"), "no plain dense one"),
    ):
        torch.save({"weight": tensor}, "hostile")
        refused(canary, Path("hostile"), words, arch="torchvision:resnet18")
    save_file({"weight": torch.ones(2, dtype=torch.complex64)}, "hostile")
    refused(canary, Path("hostile"), "complex64", arch="torchvision:resnet18")


def test_an_archive_that_unpacks_without_end_is_refused(seeds, canary):
    with zipfile.ZipFile("hostile", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in zipfile.ZipFile(seeds["scripted"]).namelist():
            archive.writestr(name, zipfile.ZipFile(seeds["scripted"]).read(name))
        root = archive.namelist()[0].partition("/")[0]
        archive.writestr(f"{root}/extra/zeros", bytes(200 * 2**20))
    refused(canary, Path("hostile"), "and unpacks to")
