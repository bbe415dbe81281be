"""Accuracy against epsilon, transfer, masked gradients:
``python analyses/robustness_curve.py runs/a runs/b``
"""

from grace_geom.analyses import script

main = script("robustness_curve")

if __name__ == "__main__":
    main()
