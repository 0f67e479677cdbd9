"""Protections of the MQTT sink."""

from __future__ import annotations

from typing import Final

from scripts.lib.sabotage.edit import Edit, Sabotage

_MQTT: Final = "sinks/test_mqtt.py"
_FAULTS: Final = "sinks/test_mqtt_faults.py"

TABLE: Final = (
    Sabotage(
        "a broker that acknowledges nothing is left",
        (
            Edit(
                "sinks.mqtt_link",
                "async with asyncio.timeout(self._ack_s):",
                "async with asyncio.timeout(None):",
            ),
        ),
        (_FAULTS,),
    ),
    Sabotage(
        "no more on its way than the broker takes",
        (
            Edit(
                "sinks.mqtt_link",
                "asyncio.Semaphore(min(IN_FLIGHT, max(1, client.window)))",
                "asyncio.Semaphore(1000)",
            ),
        ),
        (_FAULTS,),
    ),
    Sabotage(
        "a retained command is ignored",
        (Edit("sinks.mqtt_sink", "        if retained:  # somebody", "        if False:  # "),),
        (_MQTT,),
    ),
    Sabotage(
        "the last will says that it is gone",
        (
            Edit(
                "sinks.mqtt_sink",
                "will = (self._topics.availability, OFFLINE)",
                "will = (self._topics.availability, ONLINE)",
            ),
        ),
        (_FAULTS,),
    ),
    Sabotage(
        "announced again when Home Assistant is born",
        (Edit("sinks.mqtt_sink", "                self._born.set()\n", "                pass\n"),),
        ("sinks/test_mqtt_discovery.py",),
    ),
    Sabotage(
        "a record that ends every connection is set aside",
        (
            Edit(
                "sinks.mqtt_sink",
                "if self._losses.get(record.id, 0) >= _LOSSES:",
                "if False:",
            ),
        ),
        (_FAULTS,),
    ),
    Sabotage(
        "a refused record waits for its permission",
        (Edit("sinks.mqtt_sink", "if error.unauthorized:", "if False:"),),
        (_FAULTS, "sinks/test_mqtt_login.py"),
    ),
    Sabotage(
        "a connection lost in silence is made again",
        (Edit("sinks.mqtt_sink", "        self._trouble()\n", "        pass\n"),),
        (_FAULTS,),
    ),
)
