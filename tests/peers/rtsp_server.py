"""An RTSP server with a test picture, by GStreamer; run by the system's Python, whose packages it needs.

Usage: rtsp_server.py PORT. The stream is at /sky: H.264, 320 x 240, 10 frames a second, white, red in the top-left
quarter.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

_LAUNCH = (
    "( compositor name=mix sink_1::width=160 sink_1::height=120 ! video/x-raw,width=320,height=240,framerate=10/1"
    " ! videoconvert ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 ! rtph264pay name=pay0 pt=96"
    " videotestsrc is-live=true pattern=white ! video/x-raw,width=320,height=240,framerate=10/1 ! mix.sink_0"
    " videotestsrc is-live=true pattern=red ! video/x-raw,width=160,height=120,framerate=10/1 ! mix.sink_1 )"
)

Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_service(sys.argv[1])
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(_LAUNCH)
factory.set_shared(True)
server.get_mount_points().add_factory("/sky", factory)
server.attach(None)
GLib.MainLoop().run()
