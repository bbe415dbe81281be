"""The robust bound's terms (A), (B), (C):
``python analyses/bound_terms.py runs/a runs/b [--ood NAME=SPEC]``
"""

from grace_geom.analyses import script

main = script("bound_terms")

if __name__ == "__main__":
    main()
