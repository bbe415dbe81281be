"""How far checkpoints are from the pretrained weights:
``python analyses/parameter_drift.py runs/A runs/B ...``
"""

from grace_geom.analyses import script

main = script("parameter_drift")

if __name__ == "__main__":
    main()
