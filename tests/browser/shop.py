"""A small shop whose queues show all that a panel can show: the cells of its notebook."""

from __future__ import annotations

__all__ = ["EMPTY", "FILL", "NONE", "SETUP"]

SETUP = """\
import asyncio
from conveyor_nb import (
    FlowJob, FlowProducer, Group, GroupLimits, MemoryStore, Queue, Repeat, dashboard
)

store = MemoryStore(ids="sequential", metrics=True)
orders, mails = Queue("orders", store=store), Queue("mails", store=store)
go = asyncio.Event()

@orders.worker(name="packer", concurrency=3, group=GroupLimits(concurrency=2))
async def pack(job):
    await job.log(f"packing {job.data}")
    if job.name == "charge":
        raise ValueError("the card was declined")
    if job.name == "pack":
        await job.update_progress(40)
        await go.wait()
    return {"parcel": job.id}
"""

FILL = """\
await orders.add_bulk([{"name": "ship", "data": {"to": name}} for name in ("ada", "grace")])
await orders.add("charge", {"order": 17}, attempts=2, backoff="1h")
await orders.add("charge", {"order": 18, "card": {"kind": "visa", "ends": 1234}})
await orders.join()
at_nine = Repeat(cron="0 9 * * 1-5", tz="Europe/Paris")
await orders.upsert_job_scheduler("daily", at_nine, "report", {"to": "ada"})
await orders.add("remind", {"to": "alan"}, delay="2h")
parts = [FlowJob("ship", "orders", n) for n in range(2)] + [FlowJob("pack", "orders")]
await FlowProducer(store=store).add(FlowJob("bundle", "orders", children=parts))
for n in range(14):
    await orders.add("pack", {"order": n}, group=Group("gold" if n % 3 else "free"))
await mails.add("send", {"to": "ada"})
await mails.pause()
await asyncio.sleep(0)
"""

EMPTY = 'Queue("returns", store=store)'
NONE = "dashboard(MemoryStore())"
