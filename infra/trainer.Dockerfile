# The trainer: the application on a machine with NVIDIA GPUs. The host has driver and container toolkit; CUDA comes with torch.
# Build after the application: docker compose … build worker-gpu
FROM vitau-app:0.1.0

ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
CMD ["python", "-m", "prefect", "worker", "start", "--pool", "gpu", "--type", "process", "--limit", "1", "--with-healthcheck"]
