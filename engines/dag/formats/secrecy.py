"""What a definition should not do with the secrets that it refers to."""

from engines.dag.formats.report import Section
from engines.dag.references import Reference, TemplateError
from engines.dag.templating import references

# A value of these comes from whoever starts the run, or from a step before.
FROM_OUTSIDE = frozenset({"params", "item", "steps"})
SHOWN = {
    "input": "its result is what it is given, and a secret is masked in it",
    "output": "its result is what it is given, and a secret is masked in it",
}


def check_secrets(handler: str, arguments: Section) -> None:
    """Notes secrets that would be shown, or given to others. `arguments`: those of a step or a hook."""
    named = {
        key: found
        for key, value in arguments.value.items()
        if (found := [one for one in _found(value) if one.root == "secrets"])
    }
    if not named:
        return
    if handler == "workflow":
        for key, found in named.items():
            arguments.report.problem(
                (*arguments.path, key),
                f"{found[0].text}: what another run is given is shown with it. Name the secret in "
                "the workflow that uses it.",
            )
    elif handler in SHOWN:
        for key, found in named.items():
            arguments.report.warn((*arguments.path, key), f"{found[0].text}: {SHOWN[handler]}.")
    elif handler == "shell" and "argv" in named:
        arguments.report.warn(
            (*arguments.path, "argv"),
            f"{named['argv'][0].text}: every process of the machine can see arguments. Put it into "
            "env.",
        )
    elif handler == "http":
        _check_address(arguments, named)


def _check_address(arguments: Section, named: dict[str, list[Reference]]) -> None:
    path = (*arguments.path, "url")
    if "url" in named:
        arguments.report.warn(
            path, f"{named['url'][0].text}: servers write addresses into their logs. Use a header."
        )
    others = [one.text for one in _found(arguments.value.get("url")) if one.root in FROM_OUTSIDE]
    if others:
        arguments.report.warn(
            path,
            f"{sorted(others)[0]}: whoever decides the address is sent the secret. Write the "
            "address out, or take it from a variable.",
        )


def _found(value: object) -> list[Reference]:
    try:
        return sorted(references(value), key=lambda reference: reference.text)
    except TemplateError:
        return []  # noted where references are checked
