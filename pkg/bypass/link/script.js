(function(){
var form=document.forms[0],field=document.getElementById("token"),wrong=document.getElementById("wrong"),button=document.querySelector("button");
function fail(){button.disabled=false;document.body.className="";wrong.hidden=false;field.value="";field.focus()}
function send(token){
button.disabled=true;wrong.hidden=true;
try{
fetch(location.search,{method:"POST",headers:{"Maintenance-Bypass":token},credentials:"same-origin",cache:"no-store",redirect:"error"}).then(function(r){
var to=r.headers.get("Location");
if(r.status!==204||!to||to.charAt(0)!=="?")throw 0;
location.replace(to)
}).catch(fail)
}catch(e){fail()}
}
function look(){
var token=location.hash.slice(1);
if(!token)return;
history.replaceState(null,"",location.search);
document.body.className="busy";
try{token=decodeURIComponent(token)}catch(e){}
send(token)
}
document.getElementById("host").textContent=location.hostname;
if(!window.fetch)return;
form.addEventListener("submit",function(e){e.preventDefault();send(field.value.trim())});
addEventListener("hashchange",look);
look()
})()
