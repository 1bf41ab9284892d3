from __future__ import annotations
import pytest, time
from tests.mysql.room import Room
from tests.mysql.schema_history.conversions import Conversion, outcomes
from resources.mysql.schema_history.character_sets import CHARSETS
MODES=["STRICT_TRANS_TABLES",""]
ALL=("INT","BIGINT UNSIGNED","DECIMAL(30,10)","FLOAT","FLOAT(7,3)","DOUBLE","BIT(9)","YEAR","DATE","TIME(3)","DATETIME","TIMESTAMP(3) NULL","CHAR(20)","VARCHAR(20)","TEXT","BINARY(7)","VARBINARY(12)","BLOB","ENUM('a','b')","SET('a','b')","CHAR(9) CHARACTER SET ucs2","VARCHAR(20) CHARACTER SET gbk")
def test_measure(mysql_family, family_db):
    room=Room(mysql_family,family_db)
    z=room.server.connect()
    with z, z.cursor() as c:
        c.execute("DELETE FROM mysql.time_zone_name WHERE Name='Dst'")
        c.execute("DELETE FROM mysql.time_zone WHERE Time_zone_id=777")
        for t in ("time_zone_transition","time_zone_transition_type"): c.execute(f"DELETE FROM mysql.{t} WHERE Time_zone_id=777")
        c.execute("INSERT INTO mysql.time_zone VALUES (777,'N')")
        c.execute("INSERT INTO mysql.time_zone_name VALUES ('Dst',777)")
        c.execute("INSERT INTO mysql.time_zone_transition_type VALUES (777,0,3600,0,'CET'),(777,1,7200,1,'CEST')")
        c.execute("INSERT INTO mysql.time_zone_transition VALUES (777,1616893200,1),(777,1635642000,0)")
        c.execute("SET time_zone='Dst'")
        c.execute("SELECT FROM_UNIXTIME(1635640200), FROM_UNIXTIME(1635643800)"); print(c.fetchall())
    cs=[]
    for m in MODES:
        cs+=[Conversion((("TIMESTAMP NULL","TIMESTAMP(6) NULL"),),m,zone="Dst"),
             Conversion((("TIMESTAMP NULL","TIMESTAMP(6) NULL"),),m,zone="Dst",legal=True),
             Conversion((("TIMESTAMP NULL","TIMESTAMP NULL"),),m,", ALGORITHM=COPY",zone="Dst")]
    cs.append(Conversion((("TIMESTAMP NULL","TIMESTAMP NULL"),),"NO_ZERO_DATE,NO_ZERO_IN_DATE",", ALGORITHM=COPY",zone="Dst"))
    cs.append(Conversion((("TIMESTAMP(3) NULL","TIMESTAMP(3) NULL"),),"NO_ZERO_DATE,NO_ZERO_IN_DATE",", ALGORITHM=COPY",zone="Dst"))
    for m in ["STRICT_TRANS_TABLES","","PAD_CHAR_TO_FULL_LENGTH","NO_ZERO_DATE,NO_ZERO_IN_DATE"]:
        cs.append(Conversion((("INT","BIGINT"),*((a,"") for a in ALL)),m,", ALGORITHM=COPY"))
    n=len(cs)
    for ch in sorted(CHARSETS-{"binary"}):
        if ch=="gb18030" and room.kind=="mariadb": continue
        for m in MODES:
            for ty in ("VARCHAR(20)","CHAR(10)"):
                w={"ucs2":2,"utf16":2,"utf16le":2,"utf32":4}.get(ch,1)
                v=[f"CONVERT(_{ch} 0x{b.to_bytes(w,'big').hex()} USING {ch})" for b in range(256)]
                v=tuple(f"_{ch} 0x{b.to_bytes(w,'big').hex()}" for b in range(256) if w>1 or b<128 or ch not in ("utf8mb3","utf8mb4","big5","cp932","eucjpms","euckr","gb18030","gb2312","gbk","sjis","ujis"))
                if w==1 and len(v)==128: v+=tuple(f"CONVERT('{c}' USING {ch})" for c in "äÄ日本語漢字ｱア가※～―‖＼￠¬①") + tuple(f"_{ch} 0x{h:02x}{l:02x}" for h in range(0x81,0xff,5) for l in (0xa1,0xc0,0xfe) if not ch.startswith("utf"))
                cs.append(Conversion(((f"{ty} CHARACTER SET {ch}",f"{ty} CHARACTER SET utf8mb4"),),m,values=v))
    out=open(f"/tmp/alterroom/{room.kind}2.txt","w")
    t=time.time()
    res=[]
    res=outcomes(room,cs)
    print("TOOK",time.time()-t,len(cs))
    for o in res:
        c=o.conversion
        flag="WRONG" if not o.reread and o.changed else ("could" if o.reread and not o.changed and not o.refused else "")
        print(f"{flag:6} changed={len(o.changed)} reread={o.reread!s:5} {c.columns[0]} [{c.mode}] {c.rest} {c.zone} {o.refused[:100]} {str(o.changed[:4])[:300]}",file=out)
