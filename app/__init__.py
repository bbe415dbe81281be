"""The dashboard: records of runs in, pictures out. It reads JSON, YAML and NPZ, and imports no
torch.
"""
