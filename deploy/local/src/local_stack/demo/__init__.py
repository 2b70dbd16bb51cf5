"""`make demo`: the main job from end to end, told line by line."""

from local_stack.demo.story import run_demo

__all__ = ["run_demo"]
