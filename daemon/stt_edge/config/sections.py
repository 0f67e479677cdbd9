"""From a YAML mapping to the dataclass of its section; every key that does not fit is reported."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from stt_edge.config.document import MappingNode, Node, ScalarNode, SequenceNode, place_of
from stt_edge.config.problems import Problems
from stt_edge.config.schema import Key, keys_of, missing_files_of, problems_of
from stt_edge.config.suggest import closest, did_you_mean, shown
from stt_edge.config.values import INVALID, Converter, kind_of
from stt_edge.frozen import frozen

_MERGE_KEY: Final = "<<"
_MERGE_TAG: Final = "tag:yaml.org,2002:merge"
_MERGED_AT_MOST: Final = 1000
_PLAIN_NAME: Final = re.compile(r"[\w.-]{1,40}", re.ASCII)
_SECRET_NAME: Final = re.compile(
    r"(?:.*_)?(?:key|apikey|token|password|passwd|passphrase|pin|secret|credentials?)"
)


@frozen
class Entry:
    """A key of a mapping and its value, as nodes."""

    key: ScalarNode
    value: Node


Entries = dict[str, Entry]


def dotted(section: str, key: str) -> str:
    """Return the name of a key as messages have it, such as ``audio.block_ms``."""
    return f"{section}.{key}" if section else key


class SectionReader:
    """Builds the dataclasses of sections and reports what does not fit."""

    def __init__(
        self,
        problems: Problems,
        converter: Converter,
        elsewhere: Mapping[str, str],
        *,
        check_files: bool,
    ) -> None:
        """Report to ``problems``; ``elsewhere`` has the dotted names of keys by their last part.

        With ``check_files``, files that a section names and that are missing are problems too.
        """
        self._problems = problems
        self._converter = converter
        self._elsewhere = elsewhere
        self._check_files = check_files
        self._merged = 0

    def entries(self, node: Node | None, name: str) -> Entries:
        """Return what a mapping holds, merges (``<<``) included; nothing at all is an empty one.

        What is no mapping, no name, or given twice is reported.
        """
        if node is None or (isinstance(node, ScalarNode) and kind_of(node) == "null"):
            return {}
        subject = name or "the file"
        if not self._converter.tag_understood(node, subject):
            return {}
        if not isinstance(node, MappingNode):
            got = "list" if isinstance(node, SequenceNode) else "a single value"
            stuck = isinstance(node, ScalarNode) and ":" in node.value
            hint = "; a key is followed by a colon and a space" if stuck else ""
            self._problems.add(node, f"{subject}: expected mapping (key: value), got {got}{hint}")
            return {}
        return self._mapping(node, name, within=())

    def build(self, kind: type, node: Node | None, name: str) -> Any:
        """Return the section a node holds; ``name`` is its dotted name."""
        return self.fill(kind, self.entries(node, name), node, name)

    def fill(
        self,
        kind: type,
        entries: Entries,
        node: Node | None,
        name: str,
        *,
        others: Collection[str] = (),
    ) -> Any:
        """Return the section of ``entries``, with defaults for what is missing or was reported.

        ``others`` are keys that stand beside the section's own and are the caller's business.
        """
        before = self._problems.count
        keys = {key.name: key for key in keys_of(kind)}
        values: dict[str, Any] = {}
        for key_name, entry in entries.items():
            if key := keys.get(key_name):
                value = self._value(key, entry.value, dotted(name, key_name))
                if value is not INVALID:
                    values[key_name] = value
            elif key_name not in others:
                message = self._unknown(key_name, [*keys, *others])
                self._problems.add(entry.key, f"{dotted(name, _quoted(key_name))}: {message}")
        section = kind(**values)
        if self._problems.count == before and node is not None:
            found = [*problems_of(section)]
            found += missing_files_of(section) if self._check_files and not found else ()
            for key_name, message in found:
                at = entries[key_name].value if key_name in entries else node
                self._problems.add(at, f"{dotted(name, key_name)}: {message}")
        return section

    def _value(self, key: Key, node: Node, name: str) -> Any:
        if key.nested is not None:
            return self.build(key.nested, node, name)
        return self._converter.convert(node, key, name)

    def _mapping(self, node: MappingNode, name: str, *, within: tuple[Node, ...]) -> Entries:
        own: Entries = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self._problems.add(key_node, f"{name or 'the file'}: a key has to be a name")
            elif first := own.get(key_node.value):
                twice = f"given twice, first in line {place_of(first.key).line}"
                self._problems.add(key_node, f"{dotted(name, _quoted(key_node.value))}: {twice}")
            else:
                own[key_node.value] = Entry(key_node, value_node)
        merge = own.get(_MERGE_KEY)
        if merge is None or merge.key.tag != _MERGE_TAG:
            return own
        del own[_MERGE_KEY]
        return self._merge(merge.value, name, (*within, node)) | own

    def _merge(self, node: Node, name: str, within: tuple[Node, ...]) -> Entries:
        """Return what ``<<:`` brings in; of several mappings, the first to have a key wins."""
        sources = node.value if isinstance(node, SequenceNode) else [node]
        merged: Entries = {}
        for source in sources:
            if not isinstance(source, MappingNode) or source in within:
                self._problems.add(node, f"{name or 'the file'}: << takes another mapping")
                return {}
            self._merged += 1 + len(source.value)
            if self._merged > _MERGED_AT_MOST:
                self._problems.add(node, f"{name or 'the file'}: << brings in too much")
                return {}
            merged = self._mapping(source, name, within=within) | merged
        return merged

    def _unknown(self, key: str, known: list[str]) -> str:
        folded = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key).lower().replace("-", "_")
        if _SECRET_NAME.fullmatch(folded) and folded not in known:
            wanted = [name for name in known if name.endswith("_file")]
            by = closest(f"{folded}_file", wanted) or "a key that ends in _file"
            return f"a secret does not belong here; put it into a file of its own, named by {by}"
        if closest(key, known) is None and (place := self._elsewhere.get(key)):
            return f"unknown key; it belongs in {place}"
        return f"unknown key{did_you_mean(key, known)}"


def _quoted(key: str) -> str:
    return key if _PLAIN_NAME.fullmatch(key) else shown(key)
