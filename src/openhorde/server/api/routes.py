# SPDX-License-Identifier: AGPL-3.0-or-later
"""From a path to what serves it."""

from collections.abc import Mapping
from typing import Generic, TypeVar

T = TypeVar("T")

NO_PARAMETERS: Mapping[str, str] = {}


class _Node(Generic[T]):
    """What may follow after the segments so far."""

    __slots__ = ("literal", "methods", "names", "one", "rest", "rest_names")

    def __init__(self) -> None:
        self.literal: dict[str, _Node[T]] = {}
        self.one: _Node[T] | None = None
        self.names: tuple[str, ...] = ()
        self.methods: dict[str, T] = {}
        self.rest: dict[str, T] = {}
        self.rest_names: tuple[str, ...] = ()


class Routes(Generic[T]):
    """Paths with parameters; fixed paths are one dictionary look-up.

    A fixed segment wins over a parameter, a parameter of one segment over one for the whole rest.
    """

    def __init__(self) -> None:
        self._fixed: dict[str, dict[str, T]] = {}
        self._root: _Node[T] = _Node()

    def add(self, method: str, path: str, target: T) -> None:
        """Serve a method of a path; ValueError if that is served already."""
        is_fixed = "{" not in path
        methods = self._fixed.setdefault(path, {}) if is_fixed else self._node_methods(path)
        if method in methods:
            raise ValueError(f"{method} {path} is declared twice")
        methods[method] = target

    def find(self, path: str) -> tuple[Mapping[str, T], Mapping[str, str]] | None:
        """The methods of a path and its parameters; None if there is no such path."""
        fixed = self._fixed.get(path)
        if fixed is not None:
            return fixed, NO_PARAMETERS
        return self._walk(self._root, path.split("/"), 0, ())

    def _node_methods(self, path: str) -> dict[str, T]:
        node = self._root
        names: list[str] = []
        for segment in path.split("/"):
            if segment.endswith(":path}"):
                names.append(segment[1:-6])
                node.rest_names = _agreed(node.rest_names, names, path)
                return node.rest
            if segment.startswith("{"):
                names.append(segment[1:-1])
                node.one = node.one or _Node()
                node = node.one
            else:
                node = node.literal.setdefault(segment, _Node())
        node.names = _agreed(node.names, names, path)
        return node.methods

    def _walk(
        self, node: _Node[T], segments: list[str], at: int, values: tuple[str, ...]
    ) -> tuple[Mapping[str, T], Mapping[str, str]] | None:
        if at == len(segments):
            if not node.methods:
                return None
            return node.methods, dict(zip(node.names, values, strict=True))
        segment = segments[at]
        found = None
        following = node.literal.get(segment)
        if following is not None:
            found = self._walk(following, segments, at + 1, values)
        if found is None and node.one is not None and segment:
            found = self._walk(node.one, segments, at + 1, (*values, segment))
        if found is None and node.rest:
            rest = "/".join(segments[at:])
            if rest:
                return node.rest, dict(zip(node.rest_names, (*values, rest), strict=True))
        return found


def _agreed(before: tuple[str, ...], names: list[str], path: str) -> tuple[str, ...]:
    if before and before != tuple(names):
        raise ValueError(f"{path}: its parameters are called {before} elsewhere")
    return tuple(names)
