"""``%conveyor`` and ``%%worker`` in a real kernel, as a person types them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Kernel

ECHO = "%%worker emails\nreturn job.data"
NEW = "return 'new'"
SLEEPY = "%%worker emails --concurrency 2\nawait job.sleep('2s')\nreturn job.data"


def columns(kernel: Kernel, frame: str, *names: str) -> list[tuple[object, ...]]:
    """Some columns of a DataFrame in the kernel, row by row."""
    rows = kernel.value(f"{frame}.reset_index()[{list(names)!r}].map(str).values.tolist()")
    return [tuple(row) for row in rows]


# -- one sub-command after the other ----------------------------------------------------------


def test_a_new_queue_may_be_a_slip(kernel: Kernel) -> None:
    kernel.do("%conveyor add emails send")
    assert kernel.do("%conveyor add emials send").out == (
        "emials (a new queue; did you mean 'emails'?): job emials-1 is waiting\n"
    )
    assert kernel.do("%conveyor add reports send").out.startswith("reports (a new queue): job")


def test_a_job_is_added_and_worked_on(kernel: Kernel) -> None:
    assert kernel.do(ECHO).out == "worker emails takes jobs of emails, 1 at a time\n"

    ran = kernel.do('job = %conveyor add emails send {"to": ["ada", 1.5, null]}\njob.data')

    assert ran.text == "{'to': ['ada', 1.5, None]}"
    assert kernel.value("await job.wait_until_finished()") == {"to": ["ada", 1.5, None]}


def test_each_line_of_a_cell_shows_what_it_did(kernel: Kernel) -> None:
    ran = kernel.do(
        "%conveyor add emails send\n"
        "for name in 'ab':\n"
        "    %conveyor add emails send $name\n"
        "été = %conveyor add emails send $name\n"
        "%conveyor pause emails"
    )
    assert ran.out.splitlines() == [
        "emails (a new queue): job emails-1 is waiting",
        "emails: job emails-2 is waiting",
        "emails: job emails-3 is waiting",
        "emails is paused until %conveyor resume emails",
    ]
    assert kernel.value("été.data") == "b"


def test_a_variable_is_a_payload_of_any_type(kernel: Kernel) -> None:
    kernel.do("batch = {1, 2}\njob = %conveyor add emails send $batch")
    assert kernel.value("job.data") == {1, 2}


def test_variables_stand_for_their_text_where_no_payload_is_expected(kernel: Kernel) -> None:
    kernel.do("name = 'my queue'\nn = 2\nway = {'to': 'ada'}")
    kernel.do("job = %conveyor add $name send $way --attempts $n --job-id mine-{n+1}\njobs = [job]")

    assert kernel.value("job.queue_name, job.data, job.opts.attempts, job.id") == (
        "my queue",
        {"to": "ada"},
        2,
        "mine-3",
    )
    for typed in ("$job.id", "{job.id}", "{jobs[0].id}", "mine-{n+1}"):
        assert kernel.do(f"found = %conveyor job {typed}\nfound.id").text == "'mine-3'"
    kernel.do("other = %conveyor add emails send $job.data")
    assert kernel.value("other.data") == {"to": "ada"}
    assert "takes jobs of my queue, 2 at a time" in (
        kernel.do("%%worker $name --concurrency $n\nreturn 1").out
    )
    plain = kernel.do('job = %conveyor add "$name" send\njob.queue_name').text
    assert plain == "'$name'", "what stands in quotation marks is meant as it is"


def test_an_edited_schedule_is_told_of_without_code(kernel: Kernel) -> None:
    kernel.do('%conveyor add emails send --cron "0 9 * * *"')
    ran = kernel.run('%conveyor add emails send --cron "0 10 * * *"')
    [told] = ran.err.splitlines()
    assert told.startswith("%conveyor add: the schedule of 'send' in queue 'emails' was ")
    assert "is delayed" in ran.out


def test_help_begins_with_how_it_is_typed(kernel: Kernel) -> None:
    for typed in ("add -h", "help add"):
        assert kernel.do(f"%conveyor {typed}").out.startswith("%conveyor add [--priority")
    assert kernel.do("%%worker -h\n").out.startswith("%%worker [--name")
    assert "::" not in kernel.help("%%worker")


@pytest.mark.parametrize("begun", ["%", "%_", "%_conv", "%%_conveyor_", "_conveyor_"])
def test_tab_offers_no_magic_that_nobody_types(kernel: Kernel, begun: str) -> None:
    assert not [one for one in kernel.complete(begun) if "_conveyor_" in one]


def test_a_retried_parent_says_which_failed_child_it_waits_for(kernel: Kernel) -> None:
    kernel.do(
        "from conveyor_nb import FlowJob, FlowProducer, Queue\n"
        "flow = FlowJob('sum', 'p', children=[FlowJob('x', 'c', attempts=1)])\n"
        "await FlowProducer().add(flow)\n"
        "failing = True"
    )
    kernel.do("%%worker c\nif failing: raise ValueError('no')\nreturn 1")
    kernel.do("%%worker p\nreturn 'summed'")
    assert kernel.value("await Queue('p').count('failed')") == 1
    assert kernel.do("%conveyor retry p").out == (
        "p: 1 failed job to run again; p-1 waits for failed child 'c-1': "
        "%conveyor retry p --children\n"
    )
    kernel.do("failing = False")
    for number in ("1 failed job", "0 failed jobs"):
        assert kernel.do("%conveyor retry p --children").out == (
            f"p: 0 failed jobs to run again, and {number} below them\n"
        )
        kernel.do("%conveyor wait c\n%conveyor wait p")
    assert kernel.value("[job.returnvalue for job in await Queue('p').get_jobs()]") == ["summed"]


def test_a_queue_of_another_store_is_told(kernel: Kernel) -> None:
    kernel.do("from conveyor_nb import MemoryStore, Queue\nv = Queue('far', store=MemoryStore())")
    assert kernel.run("%conveyor status far").err == (
        "%conveyor status: queue 'far' is in another store than the default one, which is all that "
        "%conveyor sees; set_default_store(v.store) makes that one the default\n"
    )


def test_the_options_of_add(kernel: Kernel) -> None:
    kernel.do(
        "job = %conveyor add emails send --priority -2 {} --delay '5 minutes' --attempts 3 "
        "--backoff exponential:2s:full --timeout 1.5h --lifo --job-id mine --deduplicate key "
        "--group a --remove-on-complete at-once --remove-on-fail 1d"
    )
    opts = kernel.do("job.opts").text.replace("\n", "")
    for told in (
        "attempts=3",
        "delay=300.0",
        "priority=-2.0",
        "lifo=True",
        "timeout=5400.0",
        "job_id='mine'",
        "key='key'",
        "remove_on_complete=True",
        "Keep(age=86400.0",
        "delay=2.0, jitter='full'",
        "Group(id='a'",
    ):
        assert told in opts
    assert kernel.value("job.id") == "mine"


def test_the_overview_and_the_status(kernel: Kernel) -> None:
    assert kernel.do("%conveyor").text.startswith("no queues yet; add a job: %conveyor add")
    kernel.do(SLEEPY)
    kernel.do("%conveyor add emails send\n%conveyor add other send --delay 1h")

    told = kernel.do("%conveyor status").out

    assert told.splitlines() == [
        "queue   waiting  delayed  active  completed  failed",
        "emails        0        0       1          0       0",
        "other         0        1       0          0       0",
        "",
        "worker  queue   status   runs",
        "emails  emails  running  1 of 2",
        "",
        "nobody works on other; write a handler: %%worker other",
    ]
    overview = kernel.do("%conveyor")
    assert overview.text + "\n" == told
    assert "emails" in overview.shown[0]["text/html"]
    assert "application/vnd.jupyter.widget-view+json" in overview.shown[0], "a live dashboard"
    assert "other" not in kernel.do("%conveyor status emails").out


def test_a_queue_is_watched_in_a_live_panel(kernel: Kernel) -> None:
    kernel.do("%conveyor add emails send")
    shown = kernel.do("%conveyor watch emails").shown
    assert len(shown) == 1
    assert shown[0]["text/plain"] == "<Queue emails: 1 waiting>"
    assert "application/vnd.jupyter.widget-view+json" in shown[0]


def test_without_pandas_a_line_says_what_is_missing(kernel: Kernel) -> None:
    kernel.do("import sys, pandas\nsys.modules['pandas'] = None")
    try:
        for line in ("queues", "jobs", "workers", "events"):
            ran = kernel.run(f"%conveyor {line}")
            assert ran.error is None
            assert ran.err.endswith("which is not installed here; run: %pip install pandas\n")
        kernel.do("%conveyor\n%conveyor status")
    finally:
        kernel.do("sys.modules['pandas'] = pandas")


def test_frames_of_queues_jobs_workers_and_events(kernel: Kernel) -> None:
    kernel.do(ECHO)
    kernel.do("%conveyor add emails send 1\n%conveyor add other send\n%conveyor pause other")

    kernel.do("queues = %conveyor queues\njobs = %conveyor jobs emails\nevery = %conveyor jobs")
    assert columns(kernel, "queues", "queue", "waiting", "completed", "paused", "workers") == [
        ("emails", "0", "1", "", "1"),
        ("other", "1", "0", "paused", "0"),
    ]
    assert columns(kernel, "jobs", "id", "state") == [("emails-1", "completed")]
    assert columns(kernel, "every", "id") == [("emails-1",), ("other-1",)]
    kernel.do("jobs = %conveyor jobs emails --state failed\nworkers = %conveyor workers emails")
    assert kernel.value("len(jobs)") == 0
    assert columns(kernel, "workers", "name", "status") == [("emails", "running")]
    kernel.do("events = %conveyor events emails --last 2")
    assert columns(kernel, "events", "id", "type") == [
        ("emails-1", "job:completed"),
        ("nan", "queue:drained"),
    ]
    shown = kernel.do("%conveyor jobs emails").shown[0]
    assert "emails-1" in shown["text/html"]
    assert all(len(line) < 100 for line in shown["text/plain"].splitlines())
    shown = kernel.do("%conveyor queues").shown[0]
    assert shown["text/plain"].splitlines()[0].startswith("queue   waiting  waiting-children")


def test_a_job_is_shown_with_its_attempts(kernel: Kernel) -> None:
    kernel.do("%%worker emails\nraise ValueError('no such address')")
    kernel.do("%conveyor add emails send")
    ran = kernel.do("%conveyor job emails-1")
    assert ran.text == "<Job emails-1 'send': failed, ValueError: no such address>"
    assert "no such address" in ran.shown[0]["text/html"]


def test_pausing_a_queue_and_a_job_name(kernel: Kernel) -> None:
    kernel.do(ECHO)
    kernel.do("%conveyor pause emails")
    kernel.do("%conveyor add emails send")
    assert "paused" in kernel.do("%conveyor status").out
    assert kernel.do("%conveyor resume emails").out == "emails goes on\n"
    assert kernel.do("%conveyor resume emails").out == "emails was not paused\n"

    kernel.do("%conveyor pause emails --job-name news\n%conveyor add emails news")
    assert "paused: news" in kernel.do("%conveyor status").out
    assert kernel.do("%conveyor resume emails --job-name news").out == "news in emails goes on\n"

    done = kernel.do("%conveyor wait emails").out
    assert done == "emails has nothing left to do: 2 completed\n"


def test_stopping_a_worker_whose_handler_does_not_stop(kernel: Kernel) -> None:
    kernel.do(
        "from conveyor_nb import Queue, default_store\nimport threading\n"
        "default_store().clock.patience = 0.02  # the thread is at rest\n"
        "go_on = threading.Event()\n"
        "@Queue('stuck').worker\ndef wait(job):\n    go_on.wait()"
    )
    kernel.do("%conveyor add stuck send")
    stopped = kernel.do("%conveyor stop stuck --timeout 0s").out
    kernel_says = kernel.do("%conveyor status").out
    kernel.do("go_on.set()")

    assert "1 job to go back when the handler returns, which did not stop" in stopped
    assert "stopped  1 of 1, 1 held" in kernel_says


def test_stopping_starting_and_pausing_a_worker(kernel: Kernel) -> None:
    kernel.do(SLEEPY)
    assert kernel.do("%conveyor pause-worker emails").out == "worker emails is paused\n"
    kernel.do("%conveyor add emails send")
    assert "emails        1        0       0" in kernel.do("%conveyor status").out
    kernel.do("%conveyor resume-worker emails")
    assert "running  1 of 2" in kernel.do("%conveyor status").out

    stopped = kernel.do("%conveyor stop emails").out

    assert stopped == "worker emails is stopped; start it: %conveyor start emails\n"
    assert "emails        1        0       0" in kernel.do("%conveyor status").out, "put back"
    again = kernel.do("%conveyor stop emails").out
    assert again == "worker emails is stopped already\n"
    kernel.do("%conveyor start emails\n%conveyor clock advance 2s")
    assert "1 completed" in kernel.do("%conveyor watch emails").text
    assert (
        kernel.value("len((await __import__('conveyor_nb').default_store().list_workers()))") == 1
    )


def test_retry_promote_drain_and_clean(kernel: Kernel) -> None:
    kernel.do("good = False")
    kernel.do("%%worker emails\nassert good")
    kernel.do("%conveyor add emails send\n%conveyor add emails send --delay 1h")
    assert kernel.do("%conveyor promote emails").out == "emails: 1 delayed job to run now\n"
    kernel.do("good = True\nretried = %conveyor retry emails")
    assert kernel.value("retried") == 2
    assert kernel.do("%conveyor retry emails").out == "emails: 0 failed jobs to run again\n"
    assert kernel.do("%conveyor retry emails --state completed").out.startswith("emails: 2 compl")
    assert kernel.do("%conveyor clean emails --grace 1s").out.startswith("emails: 0 completed")
    assert kernel.do("%conveyor clean emails").out == "emails: 2 completed jobs removed\n"
    kernel.do("%conveyor pause emails\n%conveyor add emails send")
    assert kernel.do("%conveyor drain emails").out == "emails: 1 job removed\n"


def test_the_clock_is_shown_and_moved_on(kernel: Kernel) -> None:
    assert kernel.do("%conveyor clock").out.startswith("2027-01-01 00:00:00 UTC; time stands")
    kernel.do(SLEEPY)
    kernel.do("%conveyor add emails send --delay 10m")
    assert kernel.do("%conveyor clock advance 600").out == "10m later: 2027-01-01 00:10:00 UTC\n"
    assert kernel.do("%conveyor watch emails").text == "<Queue emails: 1 active>"
    kernel.do("%conveyor clock advance 2s")
    assert kernel.do("%conveyor watch emails").text == "<Queue emails: 1 completed>"


def test_the_kinds_of_clock(kernel: Kernel) -> None:
    assert "60 times as fast" in kernel.do("%conveyor reset --clock x60").out
    kernel.do("%conveyor reset --clock real")
    ran = kernel.run("%conveyor clock advance 1s")
    assert ran.err == (
        "%conveyor clock: this clock runs by itself; %conveyor reset --clock virtual starts over "
        "with one that you advance\n"
    )
    kernel.do("%%worker emails\nawait job.sleep('20ms')\nreturn 1")
    kernel.do("job = %conveyor add emails send\n%conveyor wait emails")
    assert kernel.value("(await job.refresh()).returnvalue") == 1, "ids are random by default"


def test_reset_starts_over(kernel: Kernel) -> None:
    kernel.do(SLEEPY)
    kernel.do("from conveyor_nb import Queue\nmine = Queue('emails')\nother = Queue('other')")
    kernel.do("%conveyor add emails send")
    said = kernel.do("%conveyor reset --clock virtual --ids sequential").out
    assert said == (
        "an empty store, where time stands still until %conveyor clock advance; "
        "run your %%worker cells again and make mine, other anew\n"
    )
    assert kernel.do("mine").text == "<Queue emails: 1 waiting>", "the old store is as it was"
    kernel.do("del mine, other")
    assert kernel.do("%conveyor").text.startswith("no queues yet")
    assert kernel.do("%conveyor add emails send").out.endswith("job emails-1 is waiting\n")


def test_help_is_there_in_every_way_of_asking(kernel: Kernel) -> None:
    overview = kernel.do("%conveyor -h").out
    assert kernel.do("%conveyor help").out == overview
    assert "jobs [QUEUE] [options]" in overview
    assert "%conveyor add" in kernel.do("%conveyor add -h").out
    assert kernel.do("%conveyor help add").out == kernel.do("%conveyor add --help").out
    assert "jobs [QUEUE] [options]" in kernel.help("%conveyor")
    assert "the body of an async function of `job`" in kernel.help("%%worker")
    assert "--concurrency CONCURRENCY" in kernel.do("%%worker emails -h\npass").out


@pytest.mark.parametrize(
    ("begun", "offered"),
    [
        ("%conveyor sta", ["%conveyor start", "%conveyor status"]),
        ("%conveyor jobs ", ["%conveyor jobs emails", '%conveyor jobs "my queue"']),
        ("x = 1\ny = %conveyor jobs em", ["x = 1\ny = %conveyor jobs emails"]),
        ("%conveyor jobs emails --state f", ["%conveyor jobs emails --state failed"]),
        ("%conveyor jobs emails --s", ["%conveyor jobs emails --state"]),
        ("%conveyor stop e", ["%conveyor stop emails"]),
        ("%conveyor pause emails --job-name s", ["%conveyor pause emails --job-name send:now"]),
        ("%conveyor add emails send:n", ["%conveyor add emails send:now"]),
        ("%conveyor add emails x $addr", ["%conveyor add emails x $address"]),
        ("%conveyor job emails-", ["%conveyor job emails-1"]),
        ("%%worker em", ["%%worker emails"]),
        ("%%worker emails --con", ["%%worker emails --concurrency"]),
        ("%conveyor reset --clock v", ["%conveyor reset --clock virtual"]),
    ],
)
def test_the_tab_key_offers_what_fits(kernel: Kernel, begun: str, offered: list[str]) -> None:
    kernel.do(ECHO)
    kernel.do('address = 1\n%conveyor add emails send:now\n%conveyor add "my queue" send')
    assert kernel.complete(begun) == offered


# -- where nothing can be awaited -------------------------------------------------------------


def test_in_a_function_and_under_another_magic(kernel: Kernel) -> None:
    kernel.do(ECHO)
    kernel.do(
        "def add(name):\n"
        "    job = %conveyor add emails send $name\n"
        "    return job\n"
        "name = 'ada'\n"
        "job = add('grace')"
    )
    assert kernel.value("await job.wait_until_finished()") == "ada", "$ is for global variables"
    kernel.do("%%capture caught\n%conveyor status\n%conveyor queues")
    assert "1 of 1" not in kernel.do("caught.show()").text

    kernel.do("async def stop():\n    %conveyor stop emails\nawait stop()")
    assert "stopped" in kernel.do("%conveyor status").out


def test_what_must_wait_goes_on_by_itself_where_it_can_not(kernel: Kernel) -> None:
    kernel.do(ECHO)
    kernel.do("def stop():\n    %conveyor stop emails\nstop()")
    kernel.do(
        "import asyncio\n"
        "from conveyor_nb.worker import live_workers\n"
        "while any(worker.status == 'running' for worker in live_workers()):\n"
        "    await asyncio.sleep(0)\n"
        "for worker in live_workers():\n"
        "    await worker.close()"
    )
    assert "stopped" in kernel.do("%conveyor status").out


# -- mistakes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("stauts", "%conveyor: there is no command 'stauts'; did you mean 'status'?"),
        (
            "frobnicate",
            "%conveyor: there is no command 'frobnicate'; %conveyor -h lists what there is",
        ),
        ("emails", "%conveyor: what about queue 'emails'? For instance: %conveyor watch emails"),
        ("jobs emials", "%conveyor jobs: there is no queue 'emials'; did you mean 'emails'?"),
        ("pause zzz", "%conveyor pause: there is no queue 'zzz'; there are: emails"),
        (
            "jobs emails --state fialed",
            "%conveyor jobs: there is no state 'fialed'; did you mean 'failed'?",
        ),
        (
            "jobs emails --stat failed",
            "%conveyor jobs: there is no option '--stat'; did you mean '--state'?",
        ),
        (
            "add emails send {'to': 'ada'}",
            "%conveyor add: {'to': 'ada'} is not JSON (expecting property name enclosed in double "
            'quotes); type {"to": "ada"}',
        ),
        (
            "add emails send {to: ada}",
            "%conveyor add: {to: ada} is not JSON (expecting property name enclosed in double "
            'quotes); write for instance {"to": "ada@example.org"}, or $name',
        ),
        ("add emails send ada", '%conveyor add: ada is not JSON (expecting value); type "ada"'),
        (
            "add emails send __import__('os')",
            "%conveyor add: __import__('os') is not JSON (expecting value); write for instance "
            '{"to": "ada@example.org"}, or $name',
        ),
        (
            "add emails send $adress",
            "%conveyor add: there is no variable 'adress'; did you mean $address?",
        ),
        (
            "add emails",
            "%conveyor add: name missing; type for instance: %conveyor add emails send "
            '{"to": "ada@example.org"} --attempts 3 --backoff 2s',
        ),
        (
            "add emails send --delay soon",
            "%conveyor add: --delay is a duration such as 500ms, 5s or 10m, not 'soon'",
        ),
        (
            "add emails send --remove-on-complete 1000",
            "%conveyor add: 1000 may be a time or a number of jobs; type 1000s to keep a job for "
            "so many seconds, or 1000jobs to keep the newest 1000",
        ),
        (
            "job $adress.id",
            "%conveyor job: there is no variable 'adress'; did you mean $address?",
        ),
        (
            "job $address.id",
            "%conveyor job: $address.id can't be worked out: AttributeError: 'str' object has no "
            "attribute 'id'",
        ),
        (
            "job {adress}",
            "%conveyor job: {adress} can't be worked out: NameError: name 'adress' is not defined",
        ),
        (
            "job {to:ada}",
            "%conveyor job: {to:ada} can't be worked out: SyntaxError: invalid syntax "
            "(<string>, line 1)",
        ),
        (
            "add emails send {'to':'ada'}",
            "%conveyor add: {'to':'ada'} is not JSON (expecting property name enclosed in double "
            'quotes); type {"to": "ada"}',
        ),
        *(
            (
                f"add emails send {options} --cron 0 9 * * 1-5",
                '%conveyor add: a cron line is typed in quotation marks: --cron "0 9 * * 1-5"',
            )
            for options in ("", "{} --attempts 3")
        ),
        ("add emails send --attempts 0", "%conveyor add: attempts must be 1 or more, not 0"),
        ("start emials", "%conveyor start: there is no worker 'emials'; did you mean 'emails'?"),
        (
            "job nope",
            "%conveyor job: there is no job 'nope'; %conveyor jobs lists all that there are",
        ),
        (
            "wait emails",
            "%conveyor wait: 1 job of emails still at work, and time stands still; move it on: "
            "%conveyor clock advance 1s",
        ),
        ("clock forward", "%conveyor clock: a clock can't 'forward'; there are: advance"),
        ('status "emails', '%conveyor status: the quotation "emails doesn\'t end; close it with "'),
        (
            "reset --clock fast",
            "%conveyor reset: --clock is real, virtual, or how many times as fast, such as x60, "
            "not 'fast'",
        ),
    ],
)
def test_a_mistake_is_told_in_one_line(kernel: Kernel, typed: str, told: str) -> None:
    kernel.do(SLEEPY)
    kernel.do("address = 'ada'\n%conveyor add emails send")

    ran = kernel.run(f"before = 1\nx = %conveyor {typed}\nx is None")

    assert ran.err == told + "\n"
    assert ran.out == ""
    assert ran.text == "True", "it gives nothing, and the cell goes on"


def test_what_a_queue_waits_for_is_told(kernel: Kernel) -> None:
    kernel.do("%conveyor add emails send")
    assert kernel.run("%conveyor wait emails").err == (
        "%conveyor wait: nobody works on emails; write a handler: %%worker emails\n"
    )
    kernel.do("%conveyor pause emails")
    assert kernel.run("%conveyor wait emails").err == (
        "%conveyor wait: emails is paused, so this would not end; %conveyor resume emails\n"
    )


# -- %%worker ---------------------------------------------------------------------------------


def test_a_handler_sees_the_variables_as_they_are_when_the_job_runs(kernel: Kernel) -> None:
    kernel.do(
        "%%worker emails\n"
        "import json\n"
        "from asyncio import sleep\n"
        "def polite(name):\n"
        "    return f'{greeting} {name}'\n"
        "await sleep(0)\n"
        "async with lock:\n"
        "    text = '''two\n"
        "lines'''\n"
        "    if job.data:\n"
        "        return json.dumps([polite(job.data), text])\n"
    )
    kernel.do("import asyncio\nlock = asyncio.Lock()\ngreeting = 'Dear'")
    kernel.do('job = %conveyor add emails send "Ada"')
    assert kernel.value("await job.wait_until_finished()") == '["Dear Ada", "two\\nlines"]'
    kernel.do("greeting = 'Hi'\nnone = %conveyor add emails send")
    kernel.do("%conveyor retry emails --state completed")
    assert kernel.value("(await job.refresh()).returnvalue").startswith('["Hi Ada"')
    assert kernel.do("print((await none.refresh()).returnvalue)").out == "None\n"
    assert kernel.value("'text' in globals() or 'job' in globals() and job.id") == "emails-1"


def test_a_traceback_shows_the_lines_of_the_cell(kernel: Kernel) -> None:
    kernel.do(
        "%%worker emails --name traced\n"
        "\n"
        "def check(address):\n"
        "    raise ValueError(f'no @ in {address}')\n"
        "\n"
        "check(job.data)\n"
    )
    kernel.do('job = %conveyor add emails send "ada"')
    lines = kernel.value("(await job.refresh()).stacktrace[-1]").splitlines()
    # some Pythons mark the call in a line of its own
    assert [line for line in lines if line.strip(" ~^")] == [
        "Traceback (most recent call last):",
        '  File "<%%worker traced>", line 6, in traced',
        "    check(job.data)",
        '  File "<%%worker traced>", line 4, in check',
        "    raise ValueError(f'no @ in {address}')",
        "ValueError: no @ in ada",
    ]


def test_running_the_cell_again_swaps_the_handler_while_jobs_run(kernel: Kernel) -> None:
    kernel.do("%%worker emails --concurrency 50\nawait job.sleep('10s')\nreturn 'old'")
    kernel.do("for number in range(60):\n    job = %conveyor add emails send $number")

    said = kernel.do("%%worker emails\nawait job.sleep('1s')\nreturn 'new'").out
    assert said.startswith("worker emails goes on with this handler; 50 jobs to finish with the")
    kernel.do("%conveyor clock advance 5s")
    assert (
        kernel.do("%conveyor watch emails").text
        == "<Queue emails: 4 waiting, 51 active, 5 completed>"
    )
    kernel.do("%conveyor clock advance 1m\njobs = %conveyor jobs emails")
    assert kernel.value("jobs.returnvalue.value_counts().to_dict()") == {"old": 50, "new": 10}
    kernel.do(
        "store = __import__('conveyor_nb').default_store()\n"
        "runs = [len(job.attempt_logs) for job in await store.list_jobs('emails')]"
    )
    assert kernel.value("set(runs)") == {1}, "none ran twice"
    assert kernel.value("[one.name for one in await store.list_workers()]") == ["emails"]


@pytest.mark.parametrize(
    ("line", "body", "told"),
    [
        (
            "--concurency 3",
            "return 'new'",
            "there is no option '--concurency'; did you mean '--concurrency'?",
        ),
        ("--concurrency 0", "return 'new'", "concurrency must be 1 or more, not 0"),
        (
            "--concurrency two",
            "return 'new'",
            "--concurrency is a whole number such as 3, not 'two'",
        ),
        (
            "--limit 10",
            "return 'new'",
            "--limit is a number of jobs in a time, such as 10/1s, not '10'",
        ),
        ("", "yield 'new'", "a handler can't `yield`; it gives its one result with `return`"),
        (
            "",
            "# nothing",
            "the cell is empty; say what is to be done, for instance: return job.data",
        ),
    ],
)
def test_a_bad_handler_leaves_the_old_one(kernel: Kernel, line: str, body: str, told: str) -> None:
    kernel.do("%%worker emails\nreturn 'old'")

    ran = kernel.run(f"%%worker emails {line}\n{body}")

    assert ran.err == f"%%worker: {told}\n"
    kernel.do("job = %conveyor add emails send")
    assert kernel.value("await job.wait_until_finished()") == "old"


def test_a_syntax_error_leaves_the_old_handler_and_shows_its_line(kernel: Kernel) -> None:
    kernel.do("%%worker emails\nreturn 'old'")

    ran = kernel.run("%%worker emails\nx = 1\nreturn x x")

    assert ran.error is not None
    name, _, traceback = ran.error
    assert name == "SyntaxError"
    assert "return x x" in traceback
    assert "conveyor_nb" not in traceback, "only the person's own code is shown"
    kernel.do("job = %conveyor add emails send")
    assert kernel.value("await job.wait_until_finished()") == "old"


def test_the_options_of_a_worker(kernel: Kernel) -> None:
    said = kernel.do(
        "%%worker emails --name two --concurrency 2 --max-global-concurrency 3 --limit 2/1s "
        "--group-concurrency 1 --lock-duration 10s --lifo\nreturn 1"
    ).out
    assert said == "worker two takes jobs of emails, 2 at a time\n"
    kernel.do("for i in range(3):\n    %conveyor add emails send $i")
    assert kernel.do("%conveyor watch emails").text == "<Queue emails: 1 waiting, 2 completed>"
    kernel.do("%conveyor clock advance 1s")
    assert kernel.do("%conveyor watch emails").text == "<Queue emails: 3 completed>"
