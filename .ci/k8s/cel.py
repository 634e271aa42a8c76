"""Evaluates the expressions of a MutatingAdmissionPolicy, by cel-expr-python, as the API server does.

The API server has types for `Object.…{}` and `JSONPatch{}`, which the library lacks: they become maps first. Their names
are checked here as in `CheckTypeNamesMatchFieldPathNames` of k8s.io/apiserver/pkg/cel/mutation.
"""

import copy
import re

import jsonpatch
from cel_expr_python import cel

TOKEN = re.compile(
    r"""(?P<text>"(?:[^"\\]|\\.)*")|(?P<type>(?:Object|JSONPatch)(?:\.\w+)*)\s*\{|(?P<field>[A-Za-z_]\w*)\s*:(?!:)"""
    r"""|(?P<open>\{)|(?P<close>\})|(?P<other>.)""",
    re.S,
)
ENVIRONMENT = cel.NewEnv(variables={"object": cel.Type.DYN, "variables": cel.Type.DYN})


def evaluate(expression: str, **data: object) -> object:
    compiled = ENVIRONMENT.compile(as_maps(expression))
    return compiled.eval(data={"object": {}, "variables": {}} | data).plain_value()


def as_maps(expression: str) -> str:
    """Writes `Type{field: value}` as `{"field": value}`."""
    made, types = [], []
    # the field whose value comes next, by the depth of its literal
    fields: list[str | None] = []
    for token in TOKEN.finditer(expression):
        kind = token.lastgroup
        if kind == "type":
            check_type(token["type"], types, fields)
            types.append(token["type"])
            fields.append(None)
            made.append("{")
        elif kind == "open":
            types.append(None)
            fields.append(None)
            made.append("{")
        elif kind == "close":
            types.pop()
            fields.pop()
            made.append("}")
        elif kind == "field" and types and types[-1]:
            fields[-1] = token["field"]
            made.append(f'"{token["field"]}":')
        else:
            made.append(token[0])
    assert not types, f"unbalanced: {expression}"
    return "".join(made)


def check_type(name: str, types: list[str | None], fields: list[str | None]) -> None:
    outer = types[-1] if types else None
    if outer and outer.startswith("Object"):
        assert name == f"{outer}.{fields[-1]}", f"{name} is not {outer}.{fields[-1]}"


def matches(policy: dict, pod: dict) -> bool:
    """True if the policy changes this pod when it is created."""
    constraints = policy["matchConstraints"]
    assert constraints["resourceRules"] == [
        {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}
    ], constraints
    wanted = constraints["objectSelector"]["matchLabels"].items()
    if not wanted <= pod["metadata"].get("labels", {}).items():
        return False
    return all(evaluate(condition["expression"], object=pod) for condition in policy["matchConditions"])


def mutate(policy: dict, pod: dict) -> dict:
    """The pod as the policy creates it."""
    if not matches(policy, pod):
        return pod
    pod, variables = copy.deepcopy(pod), {}
    for variable in policy["variables"]:
        variables[variable["name"]] = evaluate(variable["expression"], object=pod, variables=variables)
    for mutation in policy["mutations"]:
        patch = evaluate(mutation["jsonPatch"]["expression"], object=pod, variables=variables)
        pod = jsonpatch.apply_patch(pod, patch)
    return pod
