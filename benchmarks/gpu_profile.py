"""Where a step's time goes on a device, by torch's profiler. No Ray, no MLflow."""

from floors import wait
from gpu_stage import Stage
from torch.profiler import ProfilerActivity, profile

N_KERNELS = 20
NAME_LENGTH = 70


def profile_of(stage: Stage) -> dict[str, float]:
    """Milliseconds a step of the slowest kernels (operations on a CPU), and of `all of them`.

    Of one epoch; where this is the time that a step takes, the device never waits for the host.
    """
    on_gpu = stage.device.type == "cuda"
    activity = ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU
    n_steps = -(-stage.spec.subset.n_images // stage.spec.training.batch_size)
    with profile(activities=[activity]) as profiled:
        stage.epoch()
        wait(stage.device)
    found: dict[str, float] = {}
    for event in profiled.key_averages():
        took_us = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        name = event.key[:NAME_LENGTH]
        found[name] = found.get(name, 0.0) + took_us / 1e3 / n_steps
    slowest = sorted(found, key=lambda name: -found[name])[:N_KERNELS]
    return {"all of them": sum(found.values())} | {name: found[name] for name in slowest}
