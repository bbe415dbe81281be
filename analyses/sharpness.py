"""Sharpness of checkpoints: ``python analyses/sharpness.py runs/A runs/B ...``"""

from grace_geom.analyses import script

main = script("sharpness")

if __name__ == "__main__":
    main()
