"""The reconciler: makes the engines do what the database says is wanted, and the database say what
the engines really do.

It is level-triggered. Each tick reads the facts, compares and acts; nothing is remembered that a
restart would miss. It may be killed at any instruction, started twice, or miss every wake-up, and the
next tick goes on from what is committed.

    watch (loop)  a thread for each engine, one for runs without an engine (router); woken by NOTIFY
      |           or by a change of the SQLite file, else every WORKFLOWHUB_POLL seconds
      v
    tick (sweep)  under the lease `engine:<id>`, whose token is checked in every write:
      1 jobs        what operators asked: test, sync now
      2 health      now and then; a half open breaker lets this one question through
      3 deploy      definitions: deploying -> ready or failed; archived ones are taken away
      4 handle      runs that are due (next_check_at): read all facts at once (facts), ask what to do
                    (plan, pure), commit the intent, call, commit the outcome (outcomes)
      5 observe     one batched look at what runs do, merged (merge, task_reports) and written in bulk
      6 children    runs that steps asked for: started, canceled, answered (requests, children)
      7 archive     logs of ended tries into our storage

What holds it together:

* **Leases** (hold, runs.leases): one per engine and one for the router, on the database's clock. A
  process that was paused past its lease can't write, and looks at its lease before each call.
* **Intent before call** (handle): our external id and `sent_at` are committed before an engine is
  called. After a call whose answer never came the run is looked up by that id, then decided. Where a
  look-up proves nothing yet, because a lost call may still be on its way, there is a wait first.
* **Merge** (merge): the attempt must match, final is final, (attempt, try, rank) only rises,
  compare-and-set on the run's version. Late, doubled or reordered reports change nothing.
* **No change, no write** (observe): a look at unchanged runs costs a few statements whatever their
  number, and writes nothing.
* **Isolation**: an error while a run is handled is that run's: it backs off with jitter, and after
  twenty in a row, or two processes that died with it in hand, it is set aside for a person. An engine
  that fails opens its own breaker, and a hung one blocks its own thread.
* **Doorbell** (tasks): django-q2 runs the same ticks every minute for hubs without a loop. Its
  messages may be lost or doubled without effect.
"""
