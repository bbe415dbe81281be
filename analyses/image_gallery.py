"""The same images for every checkpoint, clean and attacked:
``python analyses/image_gallery.py runs/a runs/b``
"""

from grace_geom.analyses import script

main = script("image_gallery")

if __name__ == "__main__":
    main()
