"""Curvature of checkpoints: ``python analyses/hessian_spectrum.py runs/NAME [CKPT ...]``"""

from grace_geom.analyses import script

main = script("hessian_spectrum")

if __name__ == "__main__":
    main()
