"""A loop factory that throws the switch: what the child runs uses casyncio's primitives as well."""

import casyncio

casyncio.install(accelerate=True)


def new_event_loop():
    return casyncio.new_event_loop()
