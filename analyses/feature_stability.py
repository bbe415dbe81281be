"""Tables 2 and 9, Fig. 2a:
``python analyses/feature_stability.py runs/a runs/b [--ood NAME=SPEC]``"""

from grace_geom.analyses import script

main = script("feature_stability")

if __name__ == "__main__":
    main()
