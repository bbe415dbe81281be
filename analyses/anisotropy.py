"""Anisotropy of curvature and features:
``python analyses/anisotropy.py runs/a runs/b [--ood NAME=SPEC]``
"""

from grace_geom.analyses import script

main = script("anisotropy")

if __name__ == "__main__":
    main()
