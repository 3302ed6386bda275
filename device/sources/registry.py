"""Which source opens what: by scheme (``sim:``), by being a folder, by the end of the name."""

from pathlib import Path

from edgegal.device.sources import files, fits, pictures, video
from edgegal.device.sources.base import Source
from edgegal.errors import InputError

__all__ = ["open_source"]


def open_source(uri: str) -> Source:
    """Open a source of frames.

    Parameters
    ----------
    uri
        A picture, FITS or video file, a folder of pictures and FITS files, or ``sim:`` for a simulated night
        (``sim:seed=7,frames=30,width=640,height=480``).

    Raises
    ------
    InputError
        Nothing is there, or nothing here reads it.
    """
    if uri.startswith("sim:"):
        from edgegal.device.sources.simulated import SimulatedSource

        return SimulatedSource(uri.removeprefix("sim:"))
    path = Path(uri)
    if path.is_dir():
        return files.FolderSource(path)
    if not path.exists():
        raise InputError(f"no file or folder {uri}", "give a picture, a FITS file, a video, a folder, or sim:")
    reader = files.reader_of(path)
    if reader is not None:
        return files.FileSource(path, reader)
    if path.name.lower().endswith(video.SUFFIXES):
        return video.VideoSource(path)
    known = " ".join(pictures.SUFFIXES + fits.SUFFIXES + video.SUFFIXES)
    raise InputError(f"no source reads files named like {path.name}", f"known endings: {known}")
