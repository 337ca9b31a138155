"""The finished picture: overlay and head-up display together."""

from edge_seg.apps.controls import Controls
from edge_seg.apps.hud import Hud
from edge_seg.apps.meters import Meters
from edge_seg.apps.overlay import Overlay
from edge_seg.apps.panel import lay
from edge_seg.types import Frame, Result, UInt8Array


class View:
    """Draws frames as `controls` ask for it."""

    def __init__(self, overlay: Overlay, hud: Hud, controls: Controls) -> None:
        self._overlay, self._hud, self._controls = overlay, hud, controls

    def draw(self, frame: Frame, result: Result, meters: Meters) -> UInt8Array:
        """A new picture uint8 [H, W, 3]; the frame's own image stays as it is."""
        image = self._overlay.draw(frame.image, result.labels) if self._controls.overlay else frame.image
        height, width = image.shape[:2]
        return lay(image, self._hud.layers(width, height, meters))
