"""A simulated oVirt engine and a small Kubernetes API, for the demo and for tests.

The package imports nothing else of `provider`: a fake that shares the client's decoder shares
its mistakes. The engine:

    from provider.simulator.engine import SimulatedEngine
    from provider.simulator.scenario import Scenario, load_scenario

    engine = SimulatedEngine(load_scenario(path))       # or Scenario(...) built in code
    url = await engine.start(port=0, ssl_context=None)  # http://127.0.0.1:PORT/ovirt-engine
    engine.world.vm("worker-1").migrate("host-3")       # takes its time, writes events
    engine.faults.availability = "down"                 # every switch: see Faults
    engine.requests.counts["GET /vms"]                  # what clients asked; .seen in order
    await engine.stop()

`engine.world` has `vm`, `host`, `cluster`, `data_center`, `tag`, `user` (look-up by name or
id) and what happens to them: `Vm.start stop shutdown fail reboot suspend migrate remove rename
attach detach set_status set_addresses override`, `World.lose_host recover_host add_tag
remove_tag`. Attributes can be assigned as well: that changes silently, without an event.
Time is the event loop's own, so a virtual clock drives everything.
"""
