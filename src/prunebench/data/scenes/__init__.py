"""The built-in data: deterministic 16:9 scenes with seven kinds of objects.

Every image is drawn from its own random stream ``(seed, split, index)``. So the splits never share
a scene, and a smaller set is the beginning of a larger one: ``val`` is the same whatever ``train``
is.

Some kinds look alike on purpose (ball and ring, box and crate, cross and star): they share colours
and differ only in a hole, a marking or an outline, which small, occluded, blurred or dark objects
hide. That keeps a good detector below a perfect score, so that pruning has something to cost.
"""

from prunebench.data.scenes.drawing import SCENE_NAMES as SCENE_NAMES
from prunebench.data.scenes.generate import SETS as SETS
from prunebench.data.scenes.generate import generate_scenes as generate_scenes
from prunebench.data.scenes.scene import SceneObject as SceneObject
from prunebench.data.scenes.scene import mask_polygon as mask_polygon
from prunebench.data.scenes.scene import render_scene as render_scene
