"""Operators that a target lacks are found wherever they stand."""

import onnx

from edge_seg.export.lint import find_goal, lint

TRT, X86 = "tensorrt", "onnxruntime-x86"


def test_operators_within_if_and_of_other_domains_are_looked_at() -> None:
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1, "mine" : 1]>
        net (float[4] x, bool b) => (float[4] y) {
            t = If (b) <
                then_branch = yes () => (float[4] u) { u = Hardmax (x) },
                else_branch = no () => (float[4] v) { v = Relu (x) }
            >
            g = com.microsoft.Gelu (t)
            f = mine.Twice (g)
            y = mine.Thrice (f)
        }
        <domain: "mine", opset_import: ["" : 17]> Twice (a) => (c) { c = Add (a, a) }""")

    def lacking(target: str, version: str | None = None) -> list[str]:
        found = lint(model, find_goal(target, tensorrt=version))
        return sorted(finding.found for finding in found if finding.rule == "operator")

    assert lacking(TRT, "8.5") == ["Hardmax", "com.microsoft.Gelu", "mine.Thrice", "mine.Twice"]
    assert lacking(TRT, "10.3") == ["com.microsoft.Gelu", "mine.Thrice"]
    assert lacking(X86) == ["mine.Thrice"]


def test_operators_within_functions_are_those_of_their_own_opset() -> None:
    """PyTorch's newer exporter writes a function for each layer, and functions call each other."""
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17, "mine" : 1]>
        net (float[4] x) => (float[4] y) { h = mine.Good (x) y = mine.Bad (h) }
        <domain: "mine", opset_import: ["" : 20]> Good (a) => (c) { c = Gelu (a) }
        <domain: "mine", opset_import: ["" : 17, "mine" : 1]> Bad (a) => (c) { b = Hardmax (a) c = mine.Inner (b) }
        <domain: "mine", opset_import: ["" : 17]> Inner (a) => (c) { b = Gelu (a) c = Nonsense (b) }
        <domain: "mine", opset_import: ["" : 17]> Unread (a) => (c) { c = Nonsense (a) }""")

    def lacking(target: str, version: str | None = None) -> list[tuple[str, str]]:
        found = [one for one in lint(model, find_goal(target, tensorrt=version)) if one.rule == "operator"]
        return sorted((place, one.found) for one in found for place in one.where)

    inner = [("Inner/b", "Gelu"), ("Inner/c", "Nonsense")]
    assert lacking(X86) == inner
    assert lacking(TRT, "10.3") == inner
    assert ("Bad/b", "Hardmax") in lacking(TRT, "8.6")
