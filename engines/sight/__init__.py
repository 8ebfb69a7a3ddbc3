"""Files that people show, as the images that engines are given: pictures, and moments of videos.

Knows no engine and no page; what comes out is `engines.images.Image`, upright JPEG or PNG.
"""
