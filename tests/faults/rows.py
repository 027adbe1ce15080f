"""The faults that docs/reliability.md numbers: where, what goes wrong, what is promised; and what no
test proves yet, with the reason why."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    fault: str
    promise: str
    gap: str = ""


CLIENT = "Between client and API"
DATABASE = "Between API and database"
LOOP = "Between database and reconciler"
ENGINE = "Between reconciler and engine"
WORKER = "Between worker and step"
RUNNER = "Between runner and hub"
AROUND = "Logs, clock and disk"
LIFE = "The life of a hub"

PLACES: dict[str, dict[int, Row]] = {
    CLIENT: {
        1: Row(
            fault="A POST times out, and the client sends it again with its `Idempotency-Key`",
            promise="There is one run, and both get the same answer. The same key with another body "
            "is 422, and while the first request is under way 409 with `Retry-After`.",
        ),
        2: Row(
            fault="Somebody clicks twice: Start, Retry or Cancel",
            promise="It has one effect.",
        ),
        3: Row(
            fault="Two people cancel and retry the same run at the same moment",
            promise="One of them is first. The other one gets 409, with the run as it is by then.",
        ),
        4: Row(
            fault="A list is paged through while rows are inserted",
            promise="Nothing is shown twice, and nothing that was there is missed.",
        ),
        5: Row(
            fault="A body of 50 MB, 10,000 levels or a million labels",
            promise="It is refused at once with 4xx; the process needs less than 20 MB for it.",
        ),
    },
    DATABASE: {
        6: Row(
            fault="The database goes away and comes back",
            promise="Requests are answered 503 with `Retry-After`, `/health` too; every process "
            "stays, and works again by itself within 5 s of the database. No worker is called lost "
            "and no run is blamed for it.",
        ),
        7: Row(
            fault="The database dies between a COMMIT and its answer",
            promise="Whoever asks again with the same key gets the same run. A step whose taking "
            "was committed unheard is given back.",
        ),
        8: Row(
            fault="A deadlock or serialisation failure",
            promise="The transaction is tried again, up to three times with jitter; then it is 503, "
            "never 500.",
        ),
        9: Row(
            fault="Many processes write to SQLite at once",
            promise="They wait for each other, up to 20 s, and none of them fails.",
        ),
    },
    LOOP: {
        10: Row(
            fault="A process dies between intent and call, between accept and record, or at any "
            "other commit or call",
            promise="The run is executed exactly once; what an engine accepted is adopted.",
        ),
        11: Row(
            fault="Two reconcilers, one of which was paused past its lease",
            promise="The stale one neither writes nor calls.",
        ),
        12: Row(
            fault="A run that can't be handled, or that kills the process that handles it",
            promise="The others go on. The second death sets the run aside for a person.",
        ),
        13: Row(
            fault="A hundred thousand runs are due at once",
            promise="A tick takes no longer than 2 s, and no engine starves.",
        ),
        14: Row(
            fault="A wake-up is lost, doubled or late",
            promise="It costs the poll interval, nothing else.",
        ),
    },
    ENGINE: {
        15: Row(
            fault="A submit ends in a timeout, a reset, 5xx or 409",
            promise="The run is looked up by our id before anything else is decided: it starts "
            "once. A foreign run under our id is a conflict.",
        ),
        16: Row(
            fault="The engine doesn't know a run, or none of its runs",
            promise="A run is lost after three sightings over a minute. When very many vanish at "
            "once the engine is left alone, and nothing is marked.",
        ),
        17: Row(
            fault="HTML with 200, half an answer, a word that nobody knows",
            promise="No state changes; the error is counted and the word is kept.",
        ),
        18: Row(
            fault="A report is late, doubled or out of order",
            promise="No state goes back, and no event is told twice.",
        ),
        19: Row(
            fault="The engine's clock is two hours off",
            promise="Our own times are the database's, and no duration is negative.",
        ),
        20: Row(
            fault="A list of the engine shifts between two pages, or its third page fails",
            promise="Nothing is missed: the cursor moves only after a whole pass.",
        ),
        21: Row(
            fault="An engine hangs",
            promise="The others hardly notice. After five failures it is left alone; then one "
            "question decides.",
        ),
        22: Row(
            fault="A cancel comes after the end, or is ignored",
            promise="The engine's end stands. An ignored cancel is sent again, later and later, and "
            "shown as stuck after 180 s.",
        ),
        23: Row(
            fault="The old attempt succeeds after a retry",
            promise="It changes nothing but the history.",
        ),
    },
    WORKER: {
        24: Row(
            fault="A worker is killed, paused, or out of memory",
            promise="It is noticed within 15 s, at its own machine at once. Its steps run again, "
            "unless the policy says otherwise or they were lost three times.",
        ),
        25: Row(
            fault="A step outlives its worker, forks, ignores SIGTERM or floods its output",
            promise="All its processes are ended and its log is cut. It never runs twice at once: "
            "what a stale worker reports is void.",
        ),
        26: Row(
            fault="A step ends while the database is away",
            promise="Its result waits on disk, outlives the worker, and is recorded when the "
            "database is back, if the try is still its own.",
        ),
        28: Row(
            fault="Twenty want the same lease or step at once",
            promise="One gets it.",
        ),
    },
    RUNNER: {
        27: Row(
            fault="A runner is cut off for a minute, and the hub gives its run to another",
            promise="What the first one reports is refused as stale; it has stopped by then.",
            gap="There are no runners yet.",
        ),
        29: Row(
            fault="A file of the commit that a run names is gone or was changed",
            promise="The run fails and says so; no other code ever runs.",
            gap="Runs name no commits yet: there are no repositories.",
        ),
    },
    AROUND: {
        30: Row(
            fault="No room for logs; parts of a log lost, doubled or out of order; a log of 1 GB",
            promise="No outcome changes. Each line is kept once and in its place, what is missing "
            "is said to be. The end of any log is there in 200 ms, in little memory.",
        ),
        31: Row(
            fault="A clock is an hour off, or changes to summer time",
            promise="No lease is stolen, and none lasts for ever; no worker that lives is lost, and each "
            "that is dead is noticed. No run waits an hour more to be looked at.",
            gap="That a schedule fires once through a change of the clock: there are no schedules yet. "
            "A step's delay before its next try lasts longer by as much as the clock is put back.",
        ),
        33: Row(
            fault="The disk under the database is full, or fails",
            promise="Requests are 503 and leave nothing behind. All goes on when the disk is well.",
        ),
    },
    LIFE: {
        32: Row(
            fault="The hub is down while a schedule should have fired a hundred times",
            promise="By its policy it fires never, once (the default) or for each time.",
            gap="There are no schedules yet.",
        ),
        34: Row(
            fault="SIGTERM with work in flight",
            promise="It is finished or handed back within 25 s, leases are given up, and another "
            "process goes on within 2 s.",
        ),
        35: Row(
            fault="An old and a new version run side by side; one version back",
            promise="Both work.",
            gap="There is one version so far.",
        ),
        36: Row(
            fault="A migration of large tables; one that is killed half way",
            promise="No lock is held for longer than 1 s. The next `migrate` finishes what was begun.",
            gap="The locks: nothing has been released yet, so no filled table is ever migrated.",
        ),
        37: Row(
            fault="A webhook is answered 500, not in time, or redirects inwards",
            promise="It is tried up to 15 times in a day and then set aside; each run's come in order.",
            gap="There are no webhooks yet.",
        ),
        38: Row(
            fault="An older backup is restored",
            promise="States are learnt anew, nothing is submitted twice, old tokens are void.",
        ),
    },
}
ROWS = {number: row for rows in PLACES.values() for number, row in rows.items()}
