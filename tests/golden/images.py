"""Makes the JPEG files of `images/`: kinds that the project's own encoder does not write. Needs Pillow."""

from pathlib import Path

from PIL import Image

picture = Image.new("RGB", (45, 37))
picture.putdata([(5 * x, 6 * y, (x * y) % 256) for y in range(37) for x in range(45)])
folder = Path(__file__).parent / "images"
folder.mkdir(exist_ok=True)
picture.save(folder / "progressive.jpg", quality=80, progressive=True)
picture.save(folder / "restarts.jpg", quality=80, restart_marker_blocks=2)
picture.convert("L").save(folder / "grey_progressive.jpg", quality=90, progressive=True, restart_marker_rows=1)
