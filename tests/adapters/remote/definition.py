"""Reads the format `remote-json`: {"title": …, "tasks": [{"name": …, "needs": […], "fails": 0}]}.

`fails`: how many of the task's first tries break.
"""

import json
from typing import Any

from engines.base import Definition, Problem, TaskSpec

FORMAT = "remote-json"
TASK_KEYS = {"name", "needs", "fails"}


def read(text: str, format: str) -> Definition:
    """Never raises: what is wrong is in `problems`."""
    if format != FORMAT:
        return _wrong(f"The format {format!r} is not {FORMAT}.")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        return _wrong(f"This is no JSON: {error}.", line=getattr(error, "lineno", 0))
    if not isinstance(document, dict):
        return _wrong("An object with title and tasks is needed.")
    tasks = document.get("tasks")
    if not isinstance(tasks, list) or not tasks:
        return _wrong("A list of at least one task is needed.", path="tasks")
    problems = [problem for at, task in enumerate(tasks) for problem in _task_problems(at, task)]
    if not problems:
        problems = _graph_problems(tasks)
    if problems:
        return Definition(format=FORMAT, problems=tuple(problems))
    return Definition(
        title=str(document.get("title", "")),
        format=FORMAT,
        tasks=tuple(
            TaskSpec(
                name=task["name"],
                type="remote",
                downstream=tuple(
                    other["name"] for other in tasks if task["name"] in other.get("needs", ())
                ),
            )
            for task in tasks
        ),
        normalised=document,
    )


def _wrong(message: str, **where: Any) -> Definition:
    return Definition(format=FORMAT, problems=(Problem(message=message, **where),))


def _task_problems(at: int, task: Any) -> list[Problem]:
    path = f"tasks[{at}]"
    if not isinstance(task, dict):
        return [Problem(message="A task is an object.", path=path)]
    problems = [
        Problem(message=f"{key!r} is not a key of a task.", path=path)
        for key in task
        if key not in TASK_KEYS
    ]
    if not isinstance(task.get("name"), str) or not task["name"]:
        problems.append(Problem(message="A task has a name.", path=f"{path}.name"))
    needs = task.get("needs", [])
    if not isinstance(needs, list) or not all(isinstance(name, str) for name in needs):
        problems.append(Problem(message="A list of names is needed.", path=f"{path}.needs"))
    if not isinstance(task.get("fails", 0), int):
        problems.append(Problem(message="A whole number is needed.", path=f"{path}.fails"))
    return problems


def _graph_problems(tasks: list[dict[str, Any]]) -> list[Problem]:
    names = [task["name"] for task in tasks]
    if doubled := {name for name in names if names.count(name) > 1}:
        return [Problem(message=f"Two tasks are called {sorted(doubled)[0]!r}.", path="tasks")]
    left = {task["name"]: set(task.get("needs", [])) for task in tasks}
    for name, needs in left.items():
        if unknown := needs - set(names):
            return [Problem(message=f"{name!r} needs {sorted(unknown)[0]!r}, which isn't there.")]
    while ready := [name for name, needs in left.items() if not needs & left.keys()]:
        for name in ready:
            del left[name]
    return [Problem(message=f"A cycle goes through {sorted(left)[0]!r}.")] if left else []
