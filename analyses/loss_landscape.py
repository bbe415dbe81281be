"""Slices of the loss around checkpoints: ``python analyses/loss_landscape.py runs/A runs/B ...``"""

from grace_geom.analyses import script

main = script("loss_landscape")

if __name__ == "__main__":
    main()
