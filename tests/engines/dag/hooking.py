"""What the tests of hooks share."""

from tests.engines.dag.driving import Hand, states


def hook(**more):
    return {"handler": "input", "with": {"of": "${ended.name}"}, **more}


def both(**more):
    return {"on_success": hook(**more), "on_failure": hook(**more)}


def run_all(ends=None):
    return Hand().run_all(ends)


def hook_names(run):
    return {name for name in states(run) if "on_" in name}
