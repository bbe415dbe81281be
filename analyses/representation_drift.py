"""CKA, Procrustes and Gram drift against a reference:
``python analyses/representation_drift.py runs/a runs/b``
"""

from grace_geom.analyses import script

main = script("representation_drift")

if __name__ == "__main__":
    main()
