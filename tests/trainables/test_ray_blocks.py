from trainables.ray_blocks import COUNTS_EVERY_S, LOOKS_EVERY_S, look_often


def test_ray_data_still_has_the_pauses_that_are_shortened(monkeypatch):
    from ray.data._internal.execution import streaming_executor_state as executor
    from ray.data._internal.execution.resource_manager import ResourceManager

    pauses = (
        (executor, "WAIT_FOR_TASK_COMPLETION_TIMEOUT_S", LOOKS_EVERY_S),
        (ResourceManager, "GLOBAL_LIMITS_UPDATE_INTERVAL_S", COUNTS_EVERY_S),
    )
    for place, name, _ in pauses:
        monkeypatch.setattr(place, name, 60)  # refused where Ray has no such name any more
    look_often()
    assert [getattr(place, name) for place, name, _ in pauses] == [s for _, _, s in pauses]
