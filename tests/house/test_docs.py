"""Everything public can be asked what it is and how it is called."""

import inspect
import pathlib
import re

import pytest

import casyncio
from casyncio import _native

# Most are made when they are asked for.
STUB = pathlib.Path(__file__).parents[2].joinpath("casyncio/_native.pyi").read_text()
for name in re.findall(r"^class (\w+)", STUB, re.MULTILINE):
    getattr(_native, name, None)

TYPES = [
    member
    for member in vars(_native).values()
    if inspect.isclass(member) and member.__module__.startswith("casyncio")
]


def methods(of):
    """The methods that a type defines itself, slots left out."""
    found = [member for member in vars(of).values() if inspect.isroutine(member)]
    slots = ("wrapper_descriptor", "builtin_function_or_method")  # the latter is __new__
    return [member for member in found if type(member).__name__ not in slots]


def attributes(of):
    """The getset and member descriptors that a type defines itself, by name."""
    return {
        name: member
        for name, member in vars(of).items()
        if inspect.isgetsetdescriptor(member) or inspect.ismemberdescriptor(member)
    }


def described(thing):
    """The docstring of a thing, and not one that it inherits."""
    return (getattr(thing, "__doc__", None) or "").strip()


def has_signature(method):
    """Whether inspect.signature() knows what the method takes, self included."""
    try:
        parameters = inspect.signature(method).parameters
    except ValueError:
        return False
    return next(iter(parameters), None) == "self" or isinstance(method, staticmethod)


def test_every_public_name_of_the_package_is_described():
    names = casyncio.__all__
    assert "Loop" in names and "run" in names
    for name in names:
        member = getattr(casyncio, name)
        if inspect.isclass(member) or inspect.isroutine(member):
            assert described(member), name
    assert described(casyncio)


def test_the_native_types_are_found():
    assert {_native.Loop, _native.TimerHandle, _native.Task, _native.StreamTransport} <= {*TYPES}
    assert len(TYPES) >= 30
    assert sum(len(methods(of)) for of in TYPES) >= 150


@pytest.mark.parametrize("of", TYPES, ids=lambda of: of.__name__)
def test_every_native_method_is_described_and_has_a_signature(of):
    found = methods(of)
    assert described(of)
    assert [method.__name__ for method in found if not described(method)] == []
    assert [method.__name__ for method in found if not has_signature(method)] == []


@pytest.mark.parametrize("of", TYPES, ids=lambda of: of.__name__)
def test_every_native_attribute_is_described(of):
    undescribed = [name for name, member in attributes(of).items() if not described(member)]
    assert [name for name in undescribed if not name.startswith("__")] == []


def test_the_loop_class_has_a_signature():
    assert list(inspect.signature(casyncio.Loop).parameters) == ["selector", "backend"]


def test_public_methods_of_the_python_face_are_described():
    own = [m for name, m in vars(casyncio.Loop).items() if inspect.isfunction(m)]
    for method in own:
        if not method.__name__.startswith("_"):
            assert described(method), method


def test_the_native_module_is_described():
    assert described(_native)
